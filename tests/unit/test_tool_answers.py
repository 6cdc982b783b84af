"""Grammars of answers with tools: which answers a request allows, with reasoning, constraints and channels."""

from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import tool_answers
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, find_markers
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolChoice, ToolMode
from tests.grammar_walks import CHANNELS, accepts, tokenizer_of

_SPECIAL = ("<eos>", "<think>", "</think>", "<tool_call>", "</tool_call>")
_HARMONY = (*CHANNELS, "<|call|>")
_SCHEMA = (
    '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}'
)
_F, _G = Tool("f", parameters=_SCHEMA), Tool("g", parameters=_SCHEMA)
_STRICT = attrs.evolve(_F, is_strict=True)
_ASKED = (Message("user", "Add."),)
_REQUIRED = ToolChoice(ToolMode.REQUIRED)
_THINKING = find_markers(_SPECIAL, "", "")
_INSIDE = find_markers(_SPECIAL, "", "<think>")
_MESSAGES = find_markers(_HARMONY, "", "")


def _call(name: str = "f", arguments: str = '{"a": 1}') -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def _grammar(
    request: GenerationRequest,
    reasoning: ReasoningMarkers | None = None,
    family: ToolFamily = ToolFamily.HERMES,
    special: tuple[str, ...] = _SPECIAL,
) -> str | None:
    return tool_answers.grammar(GrammarBuilder(tokenizer_of(special).added_tokens), reasoning, request, family)


def _are_accepted(grammar: str | None, *texts: str, special: tuple[str, ...] = _SPECIAL) -> list[bool]:
    assert grammar is not None
    return [accepts(grammar, text, special) for text in texts]


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(_ASKED),
        GenerationRequest(_ASKED, tools=(_F, _G)),
        GenerationRequest(_ASKED, tools=(_STRICT,), tool_choice=ToolChoice(ToolMode.NONE)),
    ],
)
def test_most_requests_allow_every_answer(request_: GenerationRequest) -> None:
    assert _grammar(request_) is None


def test_a_required_call_is_the_whole_answer() -> None:
    grammar = _grammar(GenerationRequest(_ASKED, tools=(_F, _G), tool_choice=_REQUIRED))
    assert all(_are_accepted(grammar, _call(), _call("g"), f"{_call()}\n{_call('g')}"))
    refused = ("", "Hi", f"Hi {_call()}", _call("h"), _call(arguments="{}"), f"{_call()} Done.")
    assert not any(_are_accepted(grammar, *refused))


def test_one_call_where_several_are_not_wanted_or_a_tool_is_named() -> None:
    request = GenerationRequest(_ASKED, tools=(_F, _G), tool_choice=_REQUIRED, parallel_tool_calls=False)
    assert _are_accepted(_grammar(request), _call("g"), f"{_call()}\n{_call()}") == [True, False]
    named = GenerationRequest(_ASKED, tools=(_F, _G), tool_choice=ToolChoice(ToolMode.REQUIRED, "g"))
    assert _are_accepted(_grammar(named), _call("g"), _call("f"), f"{_call('g')}\n{_call('g')}") == [True, False, False]


def test_a_forced_answer_ends_after_eight_calls_and_a_free_one_with_the_model() -> None:
    forced = _grammar(GenerationRequest(_ASKED, tools=(_F, _G), tool_choice=_REQUIRED))
    eight, nine = ("\n".join([_call()] * count) for count in (8, 9))
    assert _are_accepted(forced, eight, nine) == [True, False]
    assert _are_accepted(_grammar(GenerationRequest(_ASKED, tools=(_STRICT,))), eight, nine) == [True, True]


def test_the_call_of_a_tool_that_is_not_strict_has_no_other_arguments_than_the_schema_names() -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
    open_schema = schema.removesuffix("}") + ', "additionalProperties": true}'
    tools = (Tool("f", parameters=schema), Tool("g", parameters=open_schema))
    grammar = _grammar(GenerationRequest(_ASKED, tools=tools, tool_choice=_REQUIRED))
    more = '{"a": 1, "b": 2}'
    assert _are_accepted(grammar, _call("f"), _call("f", more), _call("g", more)) == [True, False, True]


def test_reasoning_comes_before_a_call() -> None:
    request = GenerationRequest(_ASKED, tools=(_F,), tool_choice=_REQUIRED)
    thinking, inside = _grammar(request, _THINKING), _grammar(request, _INSIDE)
    thought = f"<think>I call it.</think>\n\n{_call()}"
    assert _are_accepted(thinking, thought, _call(), "<think>No</think>") == [True, True, False]
    assert _are_accepted(inside, thought.removeprefix("<think>"), _call()) == [True, False]


def test_a_strict_tool_holds_calls_to_its_schema_and_leaves_text_free() -> None:
    grammar = _grammar(GenerationRequest(_ASKED, tools=(_STRICT, _G)), _THINKING)
    allowed = ("", "Hi <b>", f"I add.\n{_call()}", f"<think>x</think>\n\n{_call('g')}", "<think>x</think>\n\nHi")
    assert all(_are_accepted(grammar, *allowed))
    assert not any(_are_accepted(grammar, _call(arguments='{"a": "1"}'), _call("h"), "Hi <tool_call>"))


def test_a_constraint_holds_the_answer_that_calls_nothing() -> None:
    options = GenerationOptions(constraint=Constraint.json_object())
    request = GenerationRequest(_ASKED, tools=(_F,), options=options)
    texts = ('{"x": 2}', _call(), f"<think>x</think>\n\n{_call()}", "Hi", _call("g"))
    assert _are_accepted(_grammar(request, _THINKING), *texts) == [True, True, True, False, False]
    alone = _grammar(GenerationRequest(_ASKED, options=options))
    assert _are_accepted(alone, '{"x": 2}', _call()) == [True, False]
    forced = _grammar(attrs.evolve(request, tool_choice=_REQUIRED))
    assert _are_accepted(forced, '{"x": 2}', _call()) == [False, True]


_ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
_TO_F = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>'
_FINAL = "<|channel|>final<|message|>Hi"


def test_a_call_of_gpt_oss_is_a_message_after_its_analysis() -> None:
    request = GenerationRequest(_ASKED, tools=(_F,), tool_choice=_REQUIRED)
    forced = _grammar(request, _MESSAGES, ToolFamily.HARMONY, _HARMONY)
    texts = (_ANALYSIS + _TO_F, _TO_F, _ANALYSIS + _FINAL, _TO_F.replace(".f", ".g"))
    assert _are_accepted(forced, *texts, special=_HARMONY) == [True, True, False, False]


def test_gpt_oss_may_comment_call_or_answer_where_a_tool_is_strict() -> None:
    strict = _grammar(GenerationRequest(_ASKED, tools=(_STRICT,)), _MESSAGES, ToolFamily.HARMONY, _HARMONY)
    comment = "<|channel|>commentary<|message|>I add.<|end|><|start|>assistant"
    texts = (_ANALYSIS + comment + _TO_F, _ANALYSIS + _FINAL, _FINAL, _TO_F.replace("1", '"1"'))
    assert _are_accepted(strict, *texts, special=_HARMONY) == [True, True, True, False]


def test_gpt_oss_answers_in_the_form_of_a_constraint_or_calls() -> None:
    options = GenerationOptions(constraint=Constraint.choice("yes"))
    request = GenerationRequest(_ASKED, tools=(_F,), options=options)
    grammar = _grammar(request, _MESSAGES, ToolFamily.HARMONY, _HARMONY)
    texts = (_ANALYSIS + _TO_F, _ANALYSIS + _FINAL.replace("Hi", "yes"), _FINAL)
    assert _are_accepted(grammar, *texts, special=_HARMONY) == [True, True, False]


def test_a_strict_schema_that_is_not_supported_is_refused_and_others_are_loosened() -> None:
    schema = '{"properties": {"a": {"type": "string", "not": {"const": "x"}}}}'
    tools = (_F, Tool("h", parameters=schema, is_strict=True))
    with pytest.raises(ValidationError) as caught:
        _grammar(GenerationRequest(_ASKED, tools=tools))
    assert str(caught.value.param).startswith("tools[1].function.parameters")
    request = GenerationRequest(_ASKED, tools=(Tool("h", parameters=schema),), tool_choice=_REQUIRED)
    assert _are_accepted(_grammar(request), _call("h", '{"a": "x"}')) == [True]
