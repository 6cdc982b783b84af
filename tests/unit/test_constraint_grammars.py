"""The grammars of constraints: regular expressions, choices, Lark of the user, JSON, and the reasoning before them."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import answer_grammar
from mlxknife.domain.generation.rules.reasoning import find_markers
from tests.grammar_walks import CHANNELS, SPECIAL, accepts, tokenizer_of

_DIGIT = Constraint.regex("[0-9]")


def _grammar(constraint: Constraint, prompt: str = "", template: str = "", special: tuple[str, ...] = SPECIAL) -> str:
    tokenizer = tokenizer_of(special)
    markers = find_markers(tokenizer.vocabulary, template, prompt) if prompt else None
    return answer_grammar.constrained(GrammarBuilder(tokenizer.added_tokens), markers, constraint)


@pytest.mark.parametrize(
    ("pattern", "accepted", "rejected"),
    [
        ("a/b", "a/b", "a"),
        (r"a\/b", "a/b", r"a\/b"),
        ("[/]+", "//", ""),
        ("^a|b$", "b", "ab"),
        ("a\nb\\\n", "a\nb\n", "ab"),
        ("(?i)ab", "aB", "a"),
        (r"\d{2}-\w", "12-é", "1-a"),
        (r"\\", "\\", "\\\\"),
        ("é+[^x]", "éé👍", "ééx"),
        ("//", "//", "/"),
    ],
)
def test_a_regular_expression_matches_the_whole_answer(pattern: str, accepted: str, rejected: str) -> None:
    grammar = _grammar(Constraint.regex(pattern))
    assert accepts(grammar, accepted)
    assert not accepts(grammar, rejected)


@pytest.mark.parametrize("pattern", ["a)(?:b", "(?=a)", "[a"])
def test_a_regular_expression_that_is_not_supported_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="closed brackets"):
        _grammar(Constraint.regex(pattern))


def test_a_declared_key_has_one_spelling() -> None:
    named = Constraint.json_schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert accepts(_grammar(named), '{"a": 1, "b": "\\n"}')
    assert not accepts(_grammar(named), '{"a": 1, "\\u0061": "x"}')
    for schema in ({"const": "\x01"}, {"type": "string"}, {"properties": {"a": True}, "additionalProperties": False}):
        assert accepts(_grammar(Constraint.json_schema(schema)), '"\\u0001"')


def test_a_choice_is_one_of_the_texts() -> None:
    texts = ("yes", "no", 'say "no"\n', "<think>", "x" * 100)
    grammar = _grammar(Constraint.choice(*texts, "no"))
    for text in texts:
        assert accepts(grammar, text) is (text != "<think>")  # this one is a token, and a text is never that token
    assert not accepts(grammar, "yesno")
    assert not accepts(grammar, "")


def test_a_json_object_has_no_blanks_but_one() -> None:
    for grammar in (_grammar(Constraint.json_object()), _grammar(Constraint.json_schema({"type": "object"}))):
        assert accepts(grammar, '{"a": [1, {"b": null}], "c": "é\\n"}')
        assert not any(accepts(grammar, text) for text in ("[1]", '{"a":1}', ' {"a": 1}', '{"a": 1', "{}\n"))
    assert accepts(_grammar(Constraint.json_schema("true")), "[1, 2]")


def test_a_grammar_of_the_user_has_its_own_names() -> None:
    source = '// a list <b> @x {\nstart: r0 ("," r0)*\nr0: /[a-z\\/<{@%]+/ "i"i? | "{}" // more\n%ignore / /\n'
    grammar = _grammar(Constraint.grammar(source), "x<think>")
    assert accepts(grammar, "free</think>ab,</{@%I,{}")
    assert not accepts(grammar, "free</think>ab,,")


@pytest.mark.parametrize(
    ("source", "char"),
    [
        ("start: <think>", "<"),
        ("start: <[258]>", "<"),
        ('start: "a"\n}\nr9: <[258]>\n%lark {', "}"),
        ("start: @outside", "@"),
        ('start: %json {"type": "object"}', "%"),
        ("%import secrets.TOKEN\nstart: TOKEN", "%"),
        ("%llguidance {}\nstart: /a/", "%"),
        ('start: "a\n<think>"', '"'),
        ("start: /a\n/ <think>", "/"),
        ('start: "\\\\" <think> ""', "<"),
        ("start: /[/]<think>/", "<"),
        ('start: a{2}\na: "x" }', "}"),
    ],
)
def test_a_grammar_of_the_user_cannot_name_tokens_or_reach_outside(source: str, char: str) -> None:
    with pytest.raises(ValidationError, match=f"'{char}' in line") as caught:
        _grammar(Constraint.grammar(source))
    assert caught.value.param == "constraint"


def test_a_grammar_of_the_user_has_a_limit_on_its_rules_and_brackets() -> None:
    def chain(count: int) -> Constraint:
        rules = "".join(f"r{number}: r{number + 1}\n" for number in range(count))
        return Constraint.grammar(f'start: r0\n{rules}r{count}: "(:["\n')

    assert accepts(_grammar(chain(900)), "(:[")
    with pytest.raises(ValidationError, match="1002 rules and brackets"):
        _grammar(chain(1_000))


def test_a_grammar_of_the_user_has_a_limit_on_expressions_that_must_match_together() -> None:
    def together(count: int) -> Constraint:
        return Constraint.grammar(f"start: A\nA: /[&~]+/{' & /.*/' * count}\n")

    assert accepts(_grammar(together(12)), "&~")
    with pytest.raises(ValidationError, match="13 & and ~"):
        _grammar(together(13))


def test_a_grammar_of_the_user_closes_its_brackets() -> None:
    with pytest.raises(ValidationError, match="not closed"):
        _grammar(Constraint.grammar("start: (a {"))


@pytest.mark.parametrize("source", ['start: "<think>"', "start: //<think>", 'start: "\\"<think>"', "start: /<think>/"])
def test_no_text_of_a_grammar_is_a_token(source: str) -> None:
    grammar = _grammar(Constraint.grammar(source))
    with suppress(ValidationError):  # some do not compile
        assert not accepts(grammar, "<think>")


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint.regex(""),
        Constraint.regex("a" * 5_000),
        Constraint.regex("a\ud800"),
        Constraint.choice(),
        Constraint.choice("a", ""),
        Constraint.choice(*map(str, range(5_001))),
        Constraint.choice("a" * 300_000),
        Constraint.choice("\udc00"),
        Constraint.grammar(""),
        Constraint.grammar("x" * 70_000),
        Constraint.json_schema("{"),
        Constraint.json_schema({"not": {}}),
    ],
)
def test_a_constraint_beyond_a_limit_is_refused(constraint: Constraint) -> None:
    with pytest.raises(ValidationError) as caught:
        _grammar(constraint)
    assert str(caught.value.param).startswith("constraint")


def test_reasoning_comes_before_the_answer() -> None:
    optional = _grammar(_DIGIT, "<think> elsewhere")
    assert all(accepts(optional, text) for text in ("7", "<think>any {}\n\n text</think>7", "<think></think>\n\n7"))
    assert not any(accepts(optional, text) for text in ("x7", "<think>7", "x</think>7", "<think>a</think> 7", ""))
    begun = _grammar(_DIGIT, "assistant\n<think>\n")
    assert all(accepts(begun, text) for text in ("hm</think>7", "</think>\n7"))
    assert not any(accepts(begun, text) for text in ("7", "<think></think>7", "hm</think>"))


def test_reasoning_markers_may_be_text() -> None:
    grammar = _grammar(_DIGIT, "x[THINK]", "[THINK] [/THINK]", ("<eos>",))
    assert accepts(grammar, "some [/ text[/THINK]7", ("<eos>",))
    assert not accepts(grammar, "some text 7", ("<eos>",))


def test_markers_around_the_answer_are_allowed() -> None:
    special = tuple(name for name in SPECIAL if "think>" not in name)
    grammar = _grammar(_DIGIT, "x", special=special)
    thought = "<|START_THINKING|>x<|END_THINKING|>"
    assert all(
        accepts(grammar, text, special)
        for text in ("7", f"{thought}<|START_RESPONSE|>7<|END_RESPONSE|>", f"{thought}7")
    )
    assert not accepts(grammar, f"{thought}<|START_RESPONSE|>x<|END_RESPONSE|>", special)


def test_a_marker_may_be_a_token_and_text() -> None:
    special = ("<eos>", "<|channel>", "<channel|>")
    grammar = _grammar(_DIGIT, "x", special=special)
    assert accepts(grammar, "<|channel>thought\nhm<channel|>7", special)
    assert not accepts(grammar, "<|channel>hm<channel|>7", special)


def test_channels_hold_reasoning_and_the_final_message() -> None:
    grammar = _grammar(_DIGIT, "x", special=CHANNELS)
    analysis = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    for header in ("<|channel|>final<|message|>", "<|channel|>final <|constrain|>json<|message|>"):
        assert all(accepts(grammar, f"{analysis * count}{header}7", CHANNELS) for count in (0, 1, 2))
        assert not accepts(grammar, f"{analysis}{header}x", CHANNELS)
    assert not any(accepts(grammar, text, CHANNELS) for text in ("7", analysis, "<|channel|>commentary<|message|>7"))
