"""Detection: which tool family a model belongs to, by what its repo declares, its chat template and its vocabulary."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import attrs

from mlxknife.domain.tools.rules.families import ToolFamily

_DECLARED: Mapping[str, tuple[ToolFamily, ...]] = {
    "function_gemma": (ToolFamily.GEMMA_FUNCTION,),
    "gemma4": (ToolFamily.GEMMA4,),
    "glm47": (ToolFamily.GLM47, ToolFamily.GLM45),
    "json_tools": (ToolFamily.HERMES,),
    "kimi_k2": (ToolFamily.KIMI,),
    "longcat": (ToolFamily.LONGCAT,),
    "minimax_m2": (ToolFamily.MINIMAX,),
    "mistral": (ToolFamily.MISTRAL_ARGS, ToolFamily.MISTRAL),
    "pythonic": (ToolFamily.LFM2, ToolFamily.LLAMA_PYTHON),
    "qwen3_coder": (ToolFamily.QWEN3_CODER,),
}
"""The names of mlx-lm's parsers that a repo may declare. A name is looked up here and nowhere else."""
_TAKES_TOOLS = re.compile(r"\btools\b")


@attrs.frozen
class _Sign:
    """Patterns in the chat template by which a family is known."""

    family: ToolFamily
    patterns: tuple[str, ...]
    token: str | None = None
    """A token of the vocabulary that is as good."""

    def is_on(self, template: str, vocabulary: Collection[str]) -> bool:
        """Whether a model has it."""
        return self.token in vocabulary or all(re.search(pattern, template) for pattern in self.patterns)


_GAP = r"""(?:\\n|[\s"'{}~+-])*"""
"""What may separate two texts of an answer in a template: a line break, quotes, the braces of Jinja."""
_DEEPSEEK = "<｜tool▁calls▁begin｜>"
_SIGNS = (
    _Sign(ToolFamily.HARMONY, (r"<\|channel\|>commentary",)),
    _Sign(ToolFamily.MINIMAX, ("<minimax:tool_call>",)),
    _Sign(ToolFamily.GEMMA4, (r"<\|tool_call>call:",)),
    _Sign(ToolFamily.GEMMA_FUNCTION, ("<start_function_call>",)),
    _Sign(ToolFamily.LONGCAT, ("<longcat_tool_call>",)),
    _Sign(ToolFamily.GLM45, (r"</arg_key>(?:\\n|\n)\s*<arg_value>",)),
    _Sign(ToolFamily.GLM47, ("<arg_key>",)),
    _Sign(ToolFamily.LFM2, (r"<\|tool_(?:list|call)_start\|>",), "<|tool_call_start|>"),
    _Sign(ToolFamily.QWEN3_CODER, (r"<tool_call>(?:\\n|\n)<function=",)),
    _Sign(ToolFamily.KIMI, (r"<\|tool_calls_section_begin\|>",)),
    _Sign(ToolFamily.DEEPSEEK_V3, (_DEEPSEEK, "```json")),
    _Sign(ToolFamily.DEEPSEEK_V31, (_DEEPSEEK,)),
    _Sign(ToolFamily.MISTRAL_ARGS, (r"\[TOOL_CALLS\]", r"\[ARGS\]")),
    _Sign(ToolFamily.MISTRAL, (r"\[TOOL_CALLS\]",)),
    _Sign(ToolFamily.HERMES, (rf"""<tool_call>{_GAP}\\?"name""",)),
    _Sign(ToolFamily.LLAMA_JSON, (r"""\{\\?"name\\?": function name, \\?"parameters""",)),
    _Sign(ToolFamily.LLAMA_PYTHON, (r"\[func_name1\(",)),
)
"""In their order: the first sign that a model has decides."""


def tool_family(template: str | None, vocabulary: Collection[str], declared: object = None) -> ToolFamily:
    """Return the tool family of a model.

    ``declared`` is the ``tool_parser_type`` of its repo; an unknown one is ignored. A template that does not take tools
    can only be used with the generic format.
    """
    if template is None or not _TAKES_TOOLS.search(template):
        return ToolFamily.GENERIC
    families = [sign.family for sign in _SIGNS if sign.is_on(template, vocabulary)]
    possible = _DECLARED.get(declared, ()) if isinstance(declared, str) else ()
    matching = [family for family in families if family in possible]
    return next(iter([*matching, *possible, *families]), ToolFamily.GENERIC)
