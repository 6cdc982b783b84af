"""Tool families: how models write tool calls. One table for those who read calls and for those who write grammars.

A field of texts holds markers and plain texts in their order. A marker may be one token of the model. Blanks are those
that the model usually writes; a reader accepts any blanks between markers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import attrs


class ToolFamily(Enum):
    """Models that write tool calls in the same format."""

    GENERIC = "generic"
    """Models without a format of their own; the prompt describes this one."""
    HERMES = "hermes"
    QWEN3_CODER = "qwen3_coder"
    LLAMA_JSON = "llama_json"
    LLAMA_PYTHON = "llama_python"
    LFM2 = "lfm2"
    MISTRAL = "mistral"
    """Mistral until version 7 of its format: one JSON list."""
    MISTRAL_ARGS = "mistral_args"
    """Mistral since version 11 of its format: each name is followed by its arguments."""
    DEEPSEEK_V3 = "deepseek_v3"
    DEEPSEEK_V31 = "deepseek_v31"
    KIMI = "kimi"
    HARMONY = "harmony"
    GLM45 = "glm45"
    GLM47 = "glm47"
    LONGCAT = "longcat"
    MINIMAX = "minimax"
    GEMMA_FUNCTION = "gemma_function"
    GEMMA4 = "gemma4"


class Shape(Enum):
    """What one call looks like. ``NAME``, ``KEY``, ``VALUE`` and ``JSON`` come from the model."""

    JSON = 'call_begin {"name": NAME, arguments_key: JSON} call_end'
    JSON_LIST = '[{"name": NAME, arguments_key: JSON}, ...], which has all calls'
    NAMED_JSON = "call_begin prefix NAME name_end JSON call_end"
    XML = "call_begin NAME name_end (key_begin KEY key_end VALUE value_end)* call_end"
    PYTHON = "[NAME(KEY=VALUE, ...), ...], which has all calls"
    GEMMA = "call_begin NAME{KEY:VALUE,...} call_end, with strings between two quotes"


class Begin(Enum):
    """How often models write the begin of calls."""

    ALWAYS = "always"
    OFTEN = "often"
    """It belongs to the format, but some answers lack it."""
    RARELY = "rarely"
    """The calls are the whole answer, without a begin and an end."""


@attrs.frozen
class ToolFormat:
    """The format of a family: ``begin``, the calls with separators between them, ``end``."""

    shape: Shape
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    wraps_each: bool = False
    """Whether ``begin`` and ``end`` surround each call, not all calls together."""
    is_begun: Begin = Begin.ALWAYS
    separator: str = ""
    call_begin: tuple[str, ...] = ()
    prefix: str = ""
    name_end: tuple[str, ...] = ()
    call_end: tuple[str, ...] = ()
    is_numbered: bool = False
    """Whether a colon and the number of the call follow the name."""
    call_id: str = ""
    """The marker before an id, which some models write between the name and ``name_end``."""
    arguments_key: str = "arguments"
    key_begin: tuple[str, ...] = ()
    key_end: tuple[str, ...] = ()
    value_pad: str = ""
    """The text on both sides of a value that does not belong to it."""
    value_end: tuple[str, ...] = ()
    quote: str = ""


_HERMES = ToolFormat(
    Shape.JSON, begin=("<tool_call>", "\n"), end=("\n", "</tool_call>"), wraps_each=True, separator="\n"
)
_GLM = ToolFormat(
    Shape.XML,
    call_begin=("<tool_call>",),
    name_end=("\n",),
    key_begin=("<arg_key>",),
    key_end=("</arg_key>", "\n", "<arg_value>"),
    value_end=("</arg_value>", "\n"),
    call_end=("</tool_call>",),
    separator="\n",
)
_DEEPSEEK = ToolFormat(
    Shape.NAMED_JSON,
    begin=("<｜tool▁calls▁begin｜>",),
    call_begin=("<｜tool▁call▁begin｜>",),
    name_end=("<｜tool▁sep｜>",),
    call_end=("<｜tool▁call▁end｜>",),
    end=("<｜tool▁calls▁end｜>",),
)
_FORMATS = {
    ToolFamily.GENERIC: attrs.evolve(_HERMES, is_begun=Begin.OFTEN),
    ToolFamily.HERMES: _HERMES,
    ToolFamily.QWEN3_CODER: ToolFormat(
        Shape.XML,
        begin=("<tool_call>", "\n"),
        call_begin=("<function=",),
        name_end=(">", "\n"),
        key_begin=("<parameter=",),
        key_end=(">",),
        value_pad="\n",
        value_end=("</parameter>", "\n"),
        call_end=("</function>",),
        end=("\n", "</tool_call>"),
        wraps_each=True,
        is_begun=Begin.OFTEN,
        separator="\n",
    ),
    ToolFamily.LLAMA_JSON: ToolFormat(
        Shape.JSON, begin=("<|python_tag|>",), is_begun=Begin.RARELY, separator="; ", arguments_key="parameters"
    ),
    ToolFamily.LLAMA_PYTHON: ToolFormat(
        Shape.PYTHON, begin=("<|python_start|>",), end=("<|python_end|>",), is_begun=Begin.RARELY, separator=", "
    ),
    ToolFamily.LFM2: ToolFormat(
        Shape.PYTHON, begin=("<|tool_call_start|>",), end=("<|tool_call_end|>",), separator=", "
    ),
    ToolFamily.MISTRAL: ToolFormat(Shape.JSON_LIST, begin=("[TOOL_CALLS]", " "), separator=", "),
    ToolFamily.MISTRAL_ARGS: ToolFormat(
        Shape.NAMED_JSON, call_begin=("[TOOL_CALLS]",), call_id="[CALL_ID]", name_end=("[ARGS]",)
    ),
    ToolFamily.DEEPSEEK_V3: attrs.evolve(
        _DEEPSEEK,
        call_begin=("<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>"),
        name_end=("\n```json\n",),
        call_end=("\n```", "<｜tool▁call▁end｜>"),
        separator="\n",
    ),
    ToolFamily.DEEPSEEK_V31: _DEEPSEEK,
    ToolFamily.KIMI: ToolFormat(
        Shape.NAMED_JSON,
        begin=("<|tool_calls_section_begin|>",),
        call_begin=("<|tool_call_begin|>",),
        prefix="functions.",
        is_numbered=True,
        name_end=("<|tool_call_argument_begin|>",),
        call_end=("<|tool_call_end|>",),
        end=("<|tool_calls_section_end|>",),
    ),
    ToolFamily.HARMONY: ToolFormat(
        Shape.NAMED_JSON,
        call_begin=("<|channel|>", "commentary to="),
        prefix="functions.",
        name_end=(" ", "<|constrain|>", "json", "<|message|>"),
        call_end=("<|call|>",),
    ),
    ToolFamily.GLM45: _GLM,
    ToolFamily.GLM47: attrs.evolve(
        _GLM, name_end=(), key_end=("</arg_key>", "<arg_value>"), value_end=("</arg_value>",), separator=""
    ),
    ToolFamily.LONGCAT: attrs.evolve(
        _GLM,
        call_begin=("<longcat_tool_call>",),
        key_begin=("<longcat_arg_key>",),
        key_end=("</longcat_arg_key>", "\n", "<longcat_arg_value>"),
        value_end=("</longcat_arg_value>", "\n"),
        call_end=("</longcat_tool_call>",),
    ),
    ToolFamily.MINIMAX: ToolFormat(
        Shape.XML,
        begin=("<minimax:tool_call>", "\n"),
        call_begin=('<invoke name="',),
        name_end=('">', "\n"),
        key_begin=('<parameter name="',),
        key_end=('">',),
        value_end=("</parameter>", "\n"),
        call_end=("</invoke>", "\n"),
        end=("</minimax:tool_call>",),
    ),
    ToolFamily.GEMMA_FUNCTION: ToolFormat(
        Shape.GEMMA,
        call_begin=("<start_function_call>", "call:"),
        quote="<escape>",
        call_end=("<end_function_call>",),
    ),
    ToolFamily.GEMMA4: ToolFormat(
        Shape.GEMMA, call_begin=("<|tool_call>", "call:"), quote='<|"|>', call_end=("<tool_call|>",)
    ),
}
FORMATS: Mapping[ToolFamily, ToolFormat] = MappingProxyType(_FORMATS)
