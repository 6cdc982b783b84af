"""The engine with a constraint: each answer has its form, the reasoning is free, and a bad constraint costs nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import FinishReason, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from tests.engine_answers import RequestOutput, answered, numbered_call_ids, submitted
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.fakes.tokenizer import FakeTokenizer

_SCHEMA = {"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"], "additionalProperties": False}
_JSON = Constraint.json_schema(_SCHEMA)
_END, _TOKENIZER = 256, FakeTokenizer(("<eos>", "<think>", "</think>"))


def _model(answer: str, template: str = "{{ messages }}") -> FakeTextModel:
    tokens = _TOKENIZER.encode(answer, add_special_tokens=False)
    return FakeTextModel(
        lambda _: tokens, tokenizer=_TOKENIZER, chat_template=template, vocabulary_size=270, end_token=_END
    )


def _engine(model: FakeTextModel, draft: Location | None = None) -> TextEngine:
    return TextEngine(
        model,
        FakeTemplates(),
        LoadRequest(Location("model", ()), "fast", draft=draft),
        numbered_call_ids(),
        time.monotonic,
    )


def _request(constraint: Constraint, **options: Any) -> GenerationRequest:  # noqa: ANN401 - options of several types
    return GenerationRequest((Message("user", "Hello"),), options=GenerationOptions(constraint=constraint, **options))


def _output(answer: str, constraint: Constraint, **options: Any) -> RequestOutput:  # noqa: ANN401
    return answered(_engine(_model(answer)), _request(constraint, **options))


def test_every_answer_has_the_form() -> None:
    output = _output("I would rather talk.", _JSON, n=3)
    for index in range(3):
        assert json.loads(output.text(index)) == {"a": 7}
        assert output.finish_reason(index) is FinishReason.STOP
    assert _output("nothing", Constraint.choice("yes", "no")).text() in ("yes", "no")


def test_an_answer_in_the_form_is_not_changed() -> None:
    for answer, constraint in (
        ('{"a": 7}', _JSON),
        ("no", Constraint.choice("yes", "no")),
        ("a-17", Constraint.regex("[a-c]-[0-9]+")),
        ('{"b": [1, 2]}', Constraint.json_object()),
        ("1+2", Constraint.grammar('start: n "+" n\nn: /[0-9]/')),
    ):
        assert _output(answer, constraint).text() == answer


def test_prompts_have_the_form_too() -> None:
    model = _model("no")
    request = GenerationRequest(prompts=("a", (98,)), options=GenerationOptions(constraint=Constraint.choice("no")))
    output = answered(_engine(model), request)
    assert [output.text(index) for index in range(2)] == ["no", "no"]


def test_the_reasoning_is_free() -> None:
    output = _output('<think>Let me {see}.</think>\n\n{"a": 7}', _JSON)
    assert output.text(kind=TextKind.REASONING) == "Let me {see}."
    assert output.text() == '{"a": 7}'
    begun = answered(_engine(_model("Hm.</think>sure", "{{ messages[0].content }}<think>")), _request(_JSON))
    assert json.loads(begun.text()) == {"a": 7}
    assert begun.text(kind=TextKind.REASONING) == "Hm."


def test_a_limit_or_a_stop_string_cuts_the_answer() -> None:
    cut = _output('{"a": 7}', _JSON, max_tokens=5)
    assert (cut.text(), cut.finish_reason()) == ('{"a":', FinishReason.LENGTH)
    stopped = _output('{"a": 7}', _JSON, stop=("7",))
    assert (stopped.text(), stopped.finish_reason()) == ('{"a": ', FinishReason.STOP)


@pytest.mark.parametrize(
    ("constraint", "place"),
    [
        (Constraint.json_schema({"properties": {"a": {"not": {}}}}), "constraint.properties.a.not"),
        (Constraint.json_schema({"oneOf": [{"type": "integer"}, {"type": "number"}]}), "constraint.oneOf"),
        (Constraint.json_schema({"type": "string", "pattern": "(?=a)"}), "constraint.pattern"),
        (Constraint.json_schema(json.dumps("\ud800")), "constraint"),
        (Constraint.json_schema({"enum": ["\ud800"]}), "constraint.enum"),
        (Constraint.regex("("), "constraint"),
        (Constraint.regex(r"a\1"), "constraint"),
        (Constraint.grammar("start: missing"), "constraint"),
        (Constraint.json_schema({"enum": [1], "type": "string"}), "constraint.enum"),
    ],
)
def test_a_constraint_that_is_not_supported_is_refused_by_its_place(constraint: Constraint, place: str) -> None:
    model = _model("x")
    with pytest.raises(ValidationError) as caught:
        submitted(_engine(model), 1, _request(constraint))
    assert caught.value.param == place
    assert model.is_idle
    assert not model.rows


def test_a_constraint_is_refused_beside_a_draft_model() -> None:
    with pytest.raises(ValidationError, match="draft_model") as caught:
        submitted(_engine(_model("x"), Location("draft", ())), 1, _request(_JSON))
    assert caught.value.param == "constraint"


def test_a_form_that_fails_within_the_answer_is_named() -> None:
    output = _output("a" * 60, Constraint.grammar("start: /((a{1,100}){1,100}){1,100}b/"))
    assert output.error is not None
    assert output.error.param == "constraint"
