"""Grammars of calls: lists of arguments of any length, and the limit on the schemas of all tools."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.errors import KnifeError, ValidationError
from mlxknife.domain.tools.rules.argument_grammars import listed
from mlxknife.domain.tools.rules.call_grammars import CallGrammar, tool_schemas
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolChoice
from tests.grammar_walks import accepts, grammars_of

_STACK = 512 * 1024
"""The stack of a thread on some systems."""


@pytest.mark.parametrize("required", list(itertools.product([True, False], repeat=4)))
def test_each_choice_of_parts_is_listed_in_their_order(required: tuple[bool, ...]) -> None:
    builder = GrammarBuilder({})
    names = "abcd"
    parts = [(builder.text(name), is_required) for name, is_required in zip(names, required, strict=True)]
    grammar = builder.source(f'"(" {listed(builder, parts, ",")} ")"')
    for written in itertools.product([True, False], repeat=4):
        text = ",".join(name for name, is_written in zip(names, written, strict=True) if is_written)
        is_whole = all(one for one, is_required in zip(written, required, strict=True) if is_required)
        assert accepts(grammar, f"({text})") is is_whole, text
    assert not accepts(grammar, "(b,a)")
    assert not accepts(grammar, "(,a)")


def test_a_list_without_parts_is_empty() -> None:
    builder = GrammarBuilder({})
    assert accepts(builder.source(f'"(" {listed(builder, [])} ")"'), "()")


def _tool(name: str, count: int) -> Tool:
    properties = {f"p{number}": {"type": "string"} for number in range(count)}
    return Tool(name, parameters=json.dumps({"type": "object", "properties": properties}), is_strict=True)


@pytest.mark.parametrize("family", [ToolFamily.HERMES, ToolFamily.LFM2, ToolFamily.GEMMA4, ToolFamily.QWEN3_CODER])
def test_a_tool_with_very_many_parameters_compiles_on_a_small_stack(family: ToolFamily) -> None:
    builder, failures = GrammarBuilder({}), list[KnifeError]()
    call = CallGrammar(builder, family, tool_schemas([_tool("f", 900)], ToolChoice()))
    grammar = builder.source(call.forced(is_parallel=True))

    def compile_it() -> None:
        try:
            grammars_of().compile(grammar, keep=False)
        except KnifeError as exc:
            failures.append(exc)

    before = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=compile_it)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert not failures


_BOTH = {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}, True]}
_TREE = {"type": "object", "properties": {name: {"$ref": "#/$defs/a"} for name in "abcdefghij"}}
_TWOFOLD = {
    f"a{number or ''}": {"anyOf": [{"$ref": f"#/$defs/a{number + 1}"}, {"$ref": f"#/$defs/a{number + 1}"}]}
    for number in range(40)
}


@pytest.mark.parametrize("family", [ToolFamily.GEMMA4, ToolFamily.QWEN3_CODER, ToolFamily.LFM2])
@pytest.mark.parametrize(
    "defined",
    [
        {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]}},
        {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}},
        {"a": _BOTH, "b": {"type": "integer"}},
        {"a": _TREE},
        {**_TWOFOLD, "a40": {"type": "string"}},
    ],
)
def test_references_to_a_schema_that_was_met_before_end(family: ToolFamily, defined: dict[str, object]) -> None:
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": defined}
    builder = GrammarBuilder({})
    call = CallGrammar(builder, family, tool_schemas([Tool("f", parameters=json.dumps(schema))], ToolChoice()))
    grammars_of().compile(builder.source(call.forced(is_parallel=True)), keep=False)


def test_schemas_of_tools_have_a_limit_together() -> None:
    tools = [_tool(f"f{number}", 500) for number in range(8)]
    assert len(tool_schemas(tools[:3], ToolChoice())) == 3
    with pytest.raises(ValidationError, match="schemas before it") as caught:
        tool_schemas(tools, ToolChoice())
    assert caught.value.param == "tools[3].function.parameters"
