"""Our readers of tool calls against the parsers of mlx-lm, which read whole calls."""

from __future__ import annotations

import importlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.tools.rules.families import ToolFamily
from tests.tool_streams import SCHEMA, TOOLS, Arguments, Call, split, splitter, values, written

_PARSERS = {
    ToolFamily.HERMES: "json_tools",
    ToolFamily.QWEN3_CODER: "qwen3_coder",
    ToolFamily.LFM2: "pythonic",
    ToolFamily.MISTRAL: "mistral",
    ToolFamily.MISTRAL_ARGS: "mistral",
    ToolFamily.KIMI: "kimi_k2",
    ToolFamily.GLM45: "glm47",
    ToolFamily.GLM47: "glm47",
    ToolFamily.LONGCAT: "longcat",
    ToolFamily.MINIMAX: "minimax_m2",
    ToolFamily.GEMMA_FUNCTION: "function_gemma",
    ToolFamily.GEMMA4: "gemma4",
}
_WORDS = st.text("abc é", min_size=1, max_size=8).filter(lambda text: text == text.strip())
_ARGUMENTS: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {"city": _WORDS},
    optional={"count": st.integers(-99, 99), "size": st.sampled_from([0.5, -2.25]), "is_new": st.booleans()},
)
_NESTED: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {"place": st.dictionaries(st.sampled_from("ab"), st.lists(_WORDS | st.integers(-9, 9), max_size=2), max_size=2)}
)


def _theirs(family: ToolFamily, text: str) -> list[Call]:
    """Return the calls that mlx-lm's parser finds between its markers."""
    parser = importlib.import_module(f"mlx_lm.tool_parsers.{_PARSERS[family]}")
    inner = text.removeprefix(parser.tool_call_start).removesuffix(parser.tool_call_end)
    functions = [{"name": tool.name, "parameters": SCHEMA} for tool in TOOLS]
    found = parser.parse_tool_call(inner, [{"type": "function", "function": function} for function in functions])
    return [(call["name"], call["arguments"]) for call in (found if isinstance(found, list) else [found])]


def _ours(family: ToolFamily, text: str) -> list[Call]:
    found, calls = split(splitter(family), [text])
    assert found == ""
    return values(calls)


@given(st.sampled_from(sorted(_PARSERS, key=str)), st.sampled_from(["get_weather", "stop"]), _ARGUMENTS)
def test_both_find_the_same_call(family: ToolFamily, name: str, arguments: Arguments) -> None:
    text = written(family, [(name, arguments)])
    assert _theirs(family, text) == _ours(family, text) == [(name, arguments)]


@given(st.sampled_from(sorted(_PARSERS.keys() - {ToolFamily.GEMMA_FUNCTION}, key=str)), _NESTED)
def test_both_find_the_same_nested_arguments(family: ToolFamily, arguments: Arguments) -> None:
    text = written(family, [("get", arguments)])
    assert _theirs(family, text) == _ours(family, text) == [("get", arguments)]


@pytest.mark.parametrize("family", [ToolFamily.KIMI, ToolFamily.MINIMAX, ToolFamily.MISTRAL, ToolFamily.GEMMA4])
def test_both_find_several_calls_in_one_section(family: ToolFamily) -> None:
    calls: list[Call] = [("get", {"city": "Bern"}), ("stop", {})]
    text = written(family, calls)
    assert _theirs(family, text) == _ours(family, text) == calls


@pytest.mark.parametrize(
    ("family", "name", "arguments"),
    [
        (ToolFamily.GEMMA_FUNCTION, "get", {"place": {"a": 1, "b": {"c": 2}}}),
        (ToolFamily.GEMMA_FUNCTION, "get", {"city": "a } b"}),
        (ToolFamily.GEMMA_FUNCTION, "add.numbers-2", {"city": "Bern"}),
        (ToolFamily.GEMMA4, "add.numbers-2", {"city": "Bern"}),
        (ToolFamily.LFM2, "add.numbers-2", {"city": "Bern"}),
        (ToolFamily.QWEN3_CODER, "get", {"city": "null"}),
        (ToolFamily.QWEN3_CODER, "get", {"note": "NULL"}),
        (ToolFamily.GLM47, "get", {"city": "  indented\n"}),
        (ToolFamily.GLM47, "get", {"note": "12"}),
        (ToolFamily.LONGCAT, "get", {"city": "  indented\n"}),
        (ToolFamily.MINIMAX, "get", {"city": "  indented\n"}),
    ],
)
def test_calls_that_only_we_read_as_the_template_writes_them(
    family: ToolFamily, name: str, arguments: Arguments
) -> None:
    text = written(family, [(name, arguments)])
    ours = _ours(family, text)
    try:
        theirs = _theirs(family, text)
    except (ValueError, LookupError) as exc:
        theirs = [(type(exc).__name__, {})]
    assert theirs != ours == [(name, json.loads(json.dumps(arguments)))]
