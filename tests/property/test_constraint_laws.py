"""Laws of constraints: every text that a grammar accepts fulfils its constraint, after any reasoning."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import answer_grammar
from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, find_markers
from mlxknife.domain.generation.values.answer import TextDelta, TextKind
from tests.grammar_walks import CHANNELS, SPECIAL, accepts, tokenizer_of, walk
from tests.json_schemas import instances, schemas

_SEEDS = st.integers(0, 2**32)
_THINKING = tuple(name for name in SPECIAL if "think>" not in name)
_FAMILIES = ((SPECIAL, "x"), (SPECIAL, "<think>"), (_THINKING, "x"), (("<eos>", *_THINKING[5:]), "x"), (CHANNELS, "x"))


def _grammar(constraint: Constraint, markers: ReasoningMarkers | None, special: tuple[str, ...]) -> str:
    return answer_grammar.constrained(GrammarBuilder(tokenizer_of(special).added_tokens), markers, constraint)


def _walked(constraint: Constraint, seed: int) -> str | None:
    return walk(_grammar(constraint, None, SPECIAL), seed)


@settings(max_examples=40)
@given(schemas(), _SEEDS)
def test_every_answer_is_valid_under_its_schema(schema: Any, seed: int) -> None:  # noqa: ANN401
    try:
        text = _walked(Constraint.json_schema(json.dumps(schema)), seed)
    except ValidationError:  # the schema allows nothing, or llguidance does not support it
        return
    if text is not None:
        jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)


@settings(max_examples=40)
@given(st.data())
def test_an_instance_is_accepted_where_the_schema_allows_it(data: st.DataObject) -> None:
    schema, instance = data.draw(instances())
    assert jsonschema.Draft202012Validator(schema).is_valid(instance)
    grammar = _grammar(Constraint.json_schema(json.dumps(schema)), None, SPECIAL)
    text = json.dumps(instance, ensure_ascii=False)
    assume("\\u" not in text or "json_allowed_escapes" not in grammar)  # some answers have no control characters
    assert accepts(grammar, text)


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=9), _SEEDS)
def test_an_answer_is_one_of_the_choices(choices: list[str], seed: int) -> None:
    assert _walked(Constraint.choice(*choices), seed) in (*choices, None)
    grammar = _grammar(Constraint.choice(*choices), None, SPECIAL)
    plain = [choice for choice in choices if not any(name in choice for name in SPECIAL)]
    assert all(accepts(grammar, choice) for choice in plain)


_ATOMS = st.sampled_from(["a", "b", "/", r"\/", "[a-c/]", "[^0-9]", ".", "é", r"\n", '"', r"\{"])


@settings(max_examples=50)
@given(st.lists(st.tuples(_ATOMS, st.sampled_from(["", "?", "*", "+", "{2}"])), min_size=1, max_size=6), _SEEDS)
def test_an_answer_matches_the_regular_expression(parts: list[tuple[str, str]], seed: int) -> None:
    pattern = "".join(atom + count for atom, count in parts)
    text = _walked(Constraint.regex(pattern), seed)
    assert text is None or re.fullmatch(pattern, text)


@settings(max_examples=60)
@given(st.sampled_from(_FAMILIES), _SEEDS)
def test_the_text_for_the_user_has_the_form_after_any_reasoning(family: tuple[tuple[str, ...], str], seed: int) -> None:
    special, prompt = family
    markers = find_markers(tokenizer_of(special).vocabulary, "", prompt)
    assert markers is not None
    text = walk(_grammar(Constraint.regex("[a-f]{3}[0-9]"), markers, special), seed, special=special)
    if text is None:
        return
    splitter = AnswerSplitter(markers, ())
    deltas = [*splitter.feed(text), *splitter.flush()]
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    answer = "".join(delta.text for delta in texts if delta.kind is TextKind.ANSWER)
    assert re.fullmatch("[a-f]{3}[0-9]", answer)
