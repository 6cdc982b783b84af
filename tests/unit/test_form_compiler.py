"""Forms that cannot be compiled: the error names the keyword, and tools that are not strict lose the refused part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.services.form_compiler import FormCompiler
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolChoice, ToolMode
from tests.fakes.text_model import FakeTextModel
from tests.grammar_walks import SPECIAL, accepts, tokenizer_of

_OVERLAP = {"oneOf": [{"type": "integer"}, {"type": "number"}]}
_NULL_OR = {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "a{2,1}"}]}
_RANGE = {"type": "integer", "minimum": 5, "maximum": 3}


def _compiled(
    schema: object = None,
    tools: tuple[Tool, ...] = (),
    family: ToolFamily = ToolFamily.HERMES,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    model = FakeTextModel(tokenizer=tokenizer_of(), end_token=256, vocabulary_size=256 + len(SPECIAL))
    constraint = None if schema is None else Constraint.json_schema(json.dumps(schema))
    request = GenerationRequest(
        (Message("user", "x"),),
        options=GenerationOptions(constraint=constraint),
        tools=tools,
        tool_choice=ToolChoice(ToolMode.REQUIRED) if tools else ToolChoice(),
    )
    grammar = FormCompiler(model, family, clock).compiled(request, None)
    assert grammar is not None
    return grammar


def _refused(*args: Any, **more: Any) -> tuple[str, str]:  # noqa: ANN401 - of ``_compiled``
    """Return the path in the error, and what the message says of it."""
    with pytest.raises(ValidationError) as caught:
        _compiled(*args, **more)
    path = str(caught.value.param)
    assert caught.value.message.startswith(f"{path} ")
    return path, caught.value.message.removeprefix(f"{path} ")


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        ({"properties": {"a": _OVERLAP}}, "properties.a.oneOf", "branches that one value may fulfil together"),
        ({"items": {"pattern": "a^b"}}, "items.pattern", "^ or $ inside"),
        (
            {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "a{2,1}"}]},
            "anyOf[1].pattern",
            "not a regular expression",
        ),
        ({"patternProperties": {"^a": True, "b$": True}}, "patternProperties", "one name may match together"),
        ({"properties": {"a": _RANGE}, "required": ["a"], "type": "object"}, "properties.a.maximum", "allows no value"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "allOf", "allows no value"),
        ({"allOf": [{"properties": {"a": {}}}, {"maxProperties": 1}]}, "allOf", "cannot be held beside"),
        ({"$defs": {"a/b": {"items": _OVERLAP}}, "$ref": "#/$defs/a~1b"}, "$defs.a/b.items.oneOf", "branches"),
        ({"type": "number", "minimum": 1e200}, "minimum", "cannot be compiled"),
        (False, "", "allows no value"),
    ],
)
def test_the_error_names_the_keyword_and_its_path(schema: object, path: str, reason: str) -> None:
    named, said = _refused(schema)
    assert named == f"constraint.{path}".removesuffix(".")
    assert reason in said


def test_a_value_that_is_optional_and_impossible_is_not_named() -> None:
    schema = {"type": "object", "properties": {"a": _RANGE, "b": {"pattern": "a^b"}}}
    assert _refused(schema)[0] == "constraint.properties.b.pattern"
    assert accepts(_compiled({"type": "object", "properties": {"a": _RANGE}}), "{}")


def test_a_search_without_time_names_the_schema() -> None:
    seconds = iter(range(0, 1_000, 10))
    schema = {"properties": {"a": _OVERLAP}}
    assert _refused(schema, clock=lambda: float(next(seconds)))[0] == "constraint"


def _tool(parameters: object, *, is_strict: bool) -> Tool:
    return Tool("f", parameters=json.dumps(parameters), is_strict=is_strict)


@pytest.mark.parametrize("family", [ToolFamily.HERMES, ToolFamily.QWEN3_CODER, ToolFamily.LFM2, ToolFamily.GEMMA4])
def test_a_strict_tool_that_cannot_be_compiled_is_named(family: ToolFamily) -> None:
    tools = (Tool("g"), _tool({"properties": {"a": {"type": "string", "pattern": "a{2,1}"}}}, is_strict=True))
    path, _ = _refused(tools=tools, family=family)
    assert path == "tools[1].function.parameters.properties.a.pattern"


def test_a_tool_that_is_not_strict_loses_what_cannot_be_compiled() -> None:
    properties = {"a": {"type": "string", "pattern": "a{2,1}"}, "b": {"type": "integer"}, "c": _RANGE}
    parameters = {"type": "object", "properties": properties, "required": ["a", "b", "c"], "patternProperties": {}}
    grammar = _compiled(tools=(_tool(parameters, is_strict=False),), family=ToolFamily.GENERIC)
    (call,) = (f'{{"name": "f", "arguments": {arguments}}}' for arguments in ['{"a": "z", "b": 1, "c": 9}'])
    assert accepts(grammar, call) or accepts(grammar, f"<tool_call>\n{call}\n</tool_call>")
    assert not accepts(grammar, call.replace("1", '"1"'))


def test_a_tool_for_whose_parts_no_time_is_left_takes_any_object() -> None:
    seconds = iter(range(0, 1_000, 10))
    tool = _tool({"properties": {"a": {"pattern": "a^b"}}}, is_strict=False)
    grammar = _compiled(tools=(tool,), family=ToolFamily.GENERIC, clock=lambda: float(next(seconds)))
    call = '{"name": "f", "arguments": {"a": 1}}'
    assert accepts(grammar, call) or accepts(grammar, f"<tool_call>\n{call}\n</tool_call>")


def test_what_is_no_schema_keeps_the_error_of_the_compiler() -> None:
    model = FakeTextModel(tokenizer=tokenizer_of(), end_token=256, vocabulary_size=256 + len(SPECIAL))
    request = GenerationRequest(
        (Message("user", "x"),), options=GenerationOptions(constraint=Constraint.grammar("start: nothing"))
    )
    with pytest.raises(ValidationError, match="cannot be compiled"):
        FormCompiler(model, ToolFamily.HERMES, time.monotonic).compiled(request, None)
