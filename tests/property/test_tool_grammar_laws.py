"""What a grammar of tool calls accepts, the splitter reads: valid calls of known tools with valid arguments.

The texts are random walks through the grammar. They are written with the markers of a family as tokens and as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import attrs
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tools.rules.call_grammars import CallGrammar, tool_schemas
from mlxknife.domain.tools.rules.closed_objects import closed
from mlxknife.domain.tools.rules.families import FORMATS, Begin, Shape, ToolFamily
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import Tool, ToolCallDelta, ToolChoice, ToolMode
from tests.grammar_walks import accepts, tokenizer_of, walk

_TEXT = {"type": "string"}
_DEFS = {"$defs": {"Q": {"type": "string", "minLength": 2, "maxLength": 4}}}
SCHEMAS: tuple[dict[str, Any], ...] = (
    {},
    {"type": "object", "properties": {}},
    {"properties": {"city": _TEXT, "days": {"type": "integer", "minimum": 1}}, "required": ["city"]},
    {"properties": {"a": _TEXT, "b": {"type": "boolean"}, "c": {"type": "null"}}, "additionalProperties": False},
    {"properties": {"unit": {"enum": ["c", "f"]}, "e": {"enum": ["x", 1, None, True]}}, "required": ["unit", "e"]},
    {"properties": {"a": {"type": ["string", "null"]}, "b": {"type": ["integer", "string"]}}, "required": ["a", "b"]},
    {"properties": {"a": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "integer", "maximum": 9}]}}},
    {"properties": {"p": {"type": "string", "pattern": "^[a-z]{2}/[0-9]+$"}, "q": {"$ref": "#/$defs/Q"}}, **_DEFS},
    {"properties": {"c": {"type": "array", "items": _TEXT}}, "required": ["c"]},
    {"properties": {"g": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}}},
    {
        "properties": {
            "d": {"type": "object", "properties": {"x": {"type": "boolean"}, "y": _TEXT}, "required": ["y"]},
            "f": {"const": "k", "description": "always k"},
        },
        "required": ["d", "f"],
    },
    {"type": "object", "additionalProperties": {"type": "integer"}},
)
_LIKELY = '"}])<>|/\n'
_BRACKETS = ("<>", "[]")
_OTHER = Tool("b.2-x", parameters='{"type": "object", "properties": {}, "additionalProperties": false}', is_strict=True)


@attrs.frozen
class _Family:
    family: ToolFamily
    has_tokens: bool
    """Whether the markers are tokens."""

    @property
    def tokens(self) -> tuple[str, ...]:
        fields = attrs.astuple(FORMATS[self.family]) if self.has_tokens else ()
        names = {name for field in fields for name in (field if isinstance(field, tuple) else (field,))}
        return ("<eos>", *sorted(name for name in names if isinstance(name, str) and name[:1] + name[-1:] in _BRACKETS))

    @property
    def builder(self) -> GrammarBuilder:
        return GrammarBuilder(tokenizer_of(self.tokens).added_tokens)

    def walk(self, grammar: str, seed: int) -> str | None:
        return walk(grammar, seed, 600, self.tokens, _LIKELY)

    def accepts(self, grammar: str, text: str) -> bool:
        return accepts(grammar, text, self.tokens)

    def some(self, grammar: str) -> str:
        """Return any text that a grammar accepts."""
        return next(filter(None, (self.walk(grammar, seed) for seed in range(50))))

    def grammar(self, tools: tuple[Tool, ...], *, is_forced: bool, is_parallel: bool = True) -> str:
        builder = self.builder
        calls = CallGrammar(builder, self.family, tool_schemas(tools, ToolChoice()))
        write = calls.forced if is_forced else calls.automatic
        return builder.source(write(is_parallel=is_parallel))

    def read(self, tools: tuple[Tool, ...], text: str) -> tuple[str, list[tuple[str, str]]]:
        """Return the text and the calls of an answer."""
        numbers, calls, rest = count(), list[tuple[str, str]](), ""
        splitter = ToolCallSplitter(self.family, tools, lambda: f"call_{next(numbers)}")
        for part in (*splitter.feed(text), *splitter.flush()):
            if not isinstance(part, ToolCallDelta):
                rest += part
            elif part.index == len(calls):
                calls.append((part.name, part.arguments))
            else:
                calls[-1] = calls[-1][0], calls[-1][1] + part.arguments
        return rest, calls


FAMILIES = [_Family(family, has_tokens) for family in ToolFamily for has_tokens in (True, False)]
_each_family = pytest.mark.parametrize("one", FAMILIES, ids=lambda one: f"{one.family.value}-{one.has_tokens}")


def _check_calls(calls: list[tuple[str, str]], schema: Mapping[str, Any]) -> None:
    for name, arguments in calls:
        value = json.loads(arguments)
        assert isinstance(value, dict)
        jsonschema.validate(value, schema if name == "get_it" else {"maxProperties": 0})


@_each_family
@settings(deadline=None, max_examples=4)
@given(schema=st.sampled_from(SCHEMAS), is_strict=st.booleans(), seed=st.integers(0, 2**32))
def test_a_forced_answer_is_nothing_but_valid_calls(
    one: _Family, schema: dict[str, Any], seed: int, *, is_strict: bool
) -> None:
    tools = (Tool("get_it", parameters=json.dumps(schema), is_strict=is_strict), _OTHER)
    text = one.walk(one.grammar(tools, is_forced=True), seed)
    if text is not None:
        rest, calls = one.read(tools, text)
        assert 1 <= len(calls) <= 8
        assert not rest.strip()
        _check_calls(calls, schema if is_strict else closed(schema))


@_each_family
@settings(deadline=None, max_examples=4)
@given(schema=st.sampled_from(SCHEMAS), seed=st.integers(0, 2**32))
def test_an_answer_with_a_strict_tool_is_text_and_then_valid_calls(
    one: _Family, schema: dict[str, Any], seed: int
) -> None:
    tools = (Tool("get_it", parameters=json.dumps(schema), is_strict=True), _OTHER)
    text = one.walk(one.grammar(tools, is_forced=False), seed)
    if text is not None:
        rest, calls = one.read(tools, text)
        _check_calls(calls, schema)
        form = FORMATS[one.family]
        assert not any(marker in rest for marker in (*form.begin[:1], *form.call_begin[:1]))


@_each_family
def test_text_may_stand_alone_or_before_calls_where_a_tool_is_strict(one: _Family) -> None:
    tools = (Tool("get_it", parameters='{"properties": {"a": {"type": "string"}}}', is_strict=True),)
    grammar = one.grammar(tools, is_forced=False)
    forced = one.grammar(tools, is_forced=True, is_parallel=False)
    call = one.some(forced)
    assert one.accepts(grammar, "It is warm.")
    assert one.accepts(grammar, "")
    if FORMATS[one.family].is_begun is not Begin.RARELY:
        assert one.accepts(grammar, f"I look.\n{call}")
    assert one.accepts(grammar, call)
    assert not one.accepts(grammar, call[:-1] + "!")


@_each_family
def test_only_the_chosen_tool_may_be_called_and_only_once(one: _Family) -> None:
    tools = (Tool("get_it"), _OTHER)
    builder = one.builder
    schemas = tool_schemas(tools, ToolChoice(ToolMode.REQUIRED, "b.2-x"))
    grammar = builder.source(CallGrammar(builder, one.family, schemas).forced(is_parallel=False))
    for seed in range(4):
        text = one.walk(grammar, seed)
        assert text is not None
        assert one.read(tools, text) == ("", [("b.2-x", "{}")])


@_each_family
def test_a_call_or_a_document_is_the_answer_where_both_are_allowed(one: _Family) -> None:
    tools = (
        Tool("get_it", parameters='{"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "null"}}}'),
    )
    builder = one.builder
    calls = CallGrammar(builder, one.family, tool_schemas(tools, ToolChoice())).forced(is_parallel=True)
    document = builder.json({"type": "object", "additionalProperties": {"type": "integer"}})
    grammar = builder.source(f"{calls} | {document}")
    for text in ('{"n": 1}', '{"name": 1}', "{}", '{"namesake": 1, "parameters": 2}'):
        assert one.accepts(grammar, text)
    assert one.accepts(grammar, one.some(builder.source(calls)))


_WITHOUT_ESCAPES = [one for one in FAMILIES if FORMATS[one.family].shape in (Shape.XML, Shape.GEMMA)]


@pytest.mark.parametrize("one", _WITHOUT_ESCAPES, ids=lambda one: f"{one.family.value}-{one.has_tokens}")
def test_a_string_without_escapes_may_be_anything_but_its_end(one: _Family) -> None:
    def grammar(schema: dict[str, Any]) -> str:
        parameters = json.dumps({"properties": {"a": schema}, "required": ["a"]})
        return one.grammar((Tool("f", parameters=parameters),), is_forced=True, is_parallel=False)

    form, strings = FORMATS[one.family], grammar(_TEXT)
    end = form.quote or form.value_end[0]
    call = one.some(grammar({"const": "VALUE"}))
    for text in ("", "VALUE", "\n", " a < b\n\n", '{"x": "y"}', end[:-1], end[1:]):
        assert one.accepts(strings, call.replace("VALUE", text))
    for text in (end, f"x{end}y", f"\n{end}\n"):
        assert not one.accepts(strings, call.replace("VALUE", text))


_INEXPRESSIBLE: tuple[dict[str, Any], ...] = (
    {"properties": {"a": {"type": "string", "format": "date"}}},
    {"properties": {"a b": _TEXT}},
    {"properties": {"a": _TEXT}, "minProperties": 1},
    {"properties": {"a": {"type": "string", "pattern": "a$|^b"}}},
    {"anyOf": [{"properties": {"a": _TEXT}}]},
    {"properties": {"a": _TEXT}, "required": ["b"], "additionalProperties": False},
    {"properties": {"a": _TEXT, "b": False}, "required": ["b"]},
)


@pytest.mark.parametrize("schema", _INEXPRESSIBLE, ids=json.dumps)
@pytest.mark.parametrize("family", [ToolFamily.QWEN3_CODER, ToolFamily.GEMMA4], ids=lambda family: family.value)
def test_what_a_format_cannot_express_is_refused_for_a_strict_tool_only(
    family: ToolFamily, schema: dict[str, Any]
) -> None:
    one = _Family(family, has_tokens=False)
    with pytest.raises(ValidationError) as caught:
        one.grammar((Tool("f", parameters=json.dumps(schema), is_strict=True),), is_forced=True)
    assert str(caught.value.param).startswith("tools[0].function.parameters")
    tools = (Tool("f", parameters=json.dumps(schema)),)
    assert one.read(tools, one.some(one.grammar(tools, is_forced=True)))[1]
