"""The form of an answer on the command line: what the options mean, and what their errors name."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from mlxknife.cli.answer_form import AnswerForm, answer_form, named_by_option
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import FinishReason, GenerationResult, Timings, Usage
from mlxknife.domain.hints import Hint, HintCode

_SCHEMA = '{"type": "object", "properties": {"age": {"type": "integer"}}}'


def form(
    schema: str | None = None,
    *,
    json_object: bool = False,
    regex: str | None = None,
    choice: tuple[str, ...] | None = None,
) -> AnswerForm | None:
    return answer_form(schema, json_object=json_object, regex=regex, choice=choice)


def result(answer: str, reason: FinishReason = FinishReason.STOP) -> GenerationResult:
    return GenerationResult(answer, "", reason, Usage(1, 1), Timings(0.0, 0.0, 0.0))


def test_each_option_is_a_constraint(tmp_path: Path) -> None:
    file = tmp_path / "person.json"
    file.write_text(_SCHEMA, encoding="utf-8-sig")
    expected = AnswerForm("--schema", Constraint.json_schema(_SCHEMA))
    assert form(_SCHEMA) == form(str(file)) == expected
    assert form(f"\n {_SCHEMA}") == attrs.evolve(expected, constraint=Constraint.json_schema(f"\n {_SCHEMA}"))
    assert form(json_object=True) == AnswerForm("--json-object", Constraint.json_object())
    assert form(regex="[0-9]+") == AnswerForm("--regex", Constraint.regex("[0-9]+"))
    assert form(choice=("yes", "no")) == AnswerForm("--choice", Constraint.choice("yes", "no"))
    assert form() is None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"properties": {"age": {"uniqueItems": true}}}', "--schema.properties.age.uniqueItems is not supported"),
        ('{"type":', "--schema is not valid JSON"),
        ('{"a":' * 100_000, "--schema"),
        ('{"enum": ["\udce9"]}', "--schema is not UTF-8"),
    ],
    ids=["keyword", "cut", "deep", "bytes"],
)
def test_an_error_of_a_schema_names_the_option_and_the_keyword(schema: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        form(schema)
    assert caught.value.message.startswith(message)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        form("nowhere.json")
    assert caught.value.filename == "nowhere.json"


def test_empty_choices_and_expressions_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"^--choice has a choice"):
        form(choice=("yes", ""))
    with pytest.raises(ValidationError, match=r"^--regex must be"):
        form(regex="")


def test_errors_on_the_form_name_the_option_and_others_stay() -> None:
    schema = form(_SCHEMA)
    hint = Hint(HintCode.OMIT_ONE, name="constraint", other="draft_model")
    with pytest.raises(ValidationError, match=r"^--schema: cannot be compiled$") as caught, named_by_option(schema):
        raise ValidationError("cannot be compiled", param="constraint", hint=hint)  # noqa: TRY003, EM101
    assert caught.value.hint == Hint(HintCode.OMIT_ONE, name="--schema", other="draft_model")
    for wrapped in (schema, None):
        with pytest.raises(ValidationError, match=r"^top_p$"), named_by_option(wrapped):
            raise ValidationError("top_p", param="top_p")  # noqa: EM101


@pytest.mark.parametrize(
    ("options", "answer", "is_complete"),
    [
        ({"json_object": True}, '{"a": [1e999]}', True),
        ({"json_object": True}, '{"a": [1', False),
        ({"json_object": True}, "", False),
        ({"json_object": True}, "[" * 100_000 + "]" * 100_000, False),
        ({"choice": ("yes", "no")}, "yes", True),
        ({"choice": ("yes", "no")}, "ye", False),
        ({"regex": "[0-9]+"}, "12", True),
    ],
)
def test_an_answer_is_complete_if_it_ended_by_itself_with_its_form(
    options: dict[str, object], answer: str, *, is_complete: bool
) -> None:
    made = form(**options)  # type: ignore[arg-type]
    assert made is not None
    assert made.is_complete(result(answer)) is is_complete
    for reason in (FinishReason.LENGTH, FinishReason.REPETITION):
        assert not made.is_complete(result(answer, reason))


def test_only_json_is_parsed_and_it_stays_as_it_is_written() -> None:
    schema, choice = form(_SCHEMA), form(choice=("1", "2"))
    assert schema is not None
    assert choice is not None
    parsed = schema.document(result('{"age": 1e999}'))
    assert parsed is not None
    assert bytes(parsed) == b'{"age": 1e999}'
    assert choice.document(result("1")) is None


def test_the_error_of_an_incomplete_answer_says_what_cut_it() -> None:
    schema = form(json.dumps({}))
    assert schema is not None
    assert schema.incomplete("Output cut at 5 tokens").message == (
        "Output cut at 5 tokens: the answer does not have the form of --schema"
    )
    assert schema.incomplete(None).message == "The answer does not have the form of --schema"
