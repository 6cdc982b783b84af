"""The form of an answer over HTTP: ``response_format``, and vLLM's ``structured_outputs``."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from tests.http.conftest import BODY, TEXT, Backend, Json

SCHEMA: Json = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"enum": ["ä", 1e3]}}}
SCHEMA_TEXT = '{"type":"object","properties":{"b":{"type":"integer"},"a":{"enum":["ä",1000.0]}}}'
NAMED: Json = {"name": "point", "schema": SCHEMA}

FORMS: list[tuple[Json, Constraint | None]] = [
    ({"response_format": None}, None),
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": {"type": "json_object"}}, Constraint.json_object()),
    ({"response_format": {"type": "json_schema", "json_schema": NAMED}}, Constraint.json_schema(SCHEMA_TEXT)),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, Constraint.json_schema(SCHEMA_TEXT)),
    ({"response_format": {"type": "json_object", "schema": None}, "grammar": None}, Constraint.json_object()),
    (
        {"response_format": {"type": "json_schema", "json_schema": {**NAMED, "strict": False}}},
        Constraint.json_schema(SCHEMA_TEXT),
    ),
    ({"structured_outputs": None, "response_format": {"type": "json_object"}}, Constraint.json_object()),
    ({"structured_outputs": {"json": SCHEMA}}, Constraint.json_schema(SCHEMA_TEXT)),
    ({"structured_outputs": {"json": f" {SCHEMA_TEXT}"}}, Constraint.json_schema(SCHEMA_TEXT)),
    ({"structured_outputs": {"json": {}}}, Constraint.json_schema("{}")),
    ({"structured_outputs": {"regex": "a+"}}, Constraint.regex("a+")),
    ({"structured_outputs": {"choice": ["yes", "no"]}}, Constraint.choice("yes", "no")),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, Constraint.grammar('start: "a"')),
    ({"structured_outputs": {"json_object": True, "regex": None}}, Constraint.json_object()),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}}, Constraint.regex("a")),
]


@pytest.mark.parametrize(("form", "expected"), FORMS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", BODY), ("/v1/completions", TEXT)])
def test_the_form_reaches_the_domain(
    backend: Backend, path: str, body: Json, form: Json, expected: Constraint | None
) -> None:
    reply = backend.client.post(path, json={**body, **form})
    assert reply.status_code == 200, reply.text
    assert backend.engine.requests[-1].options.constraint == expected


WRONG: list[tuple[Json, str]] = [
    ({"response_format": "json_object"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "text", "schema": SCHEMA}}, "response_format.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": NAMED, "schema": SCHEMA}}, "response_format.schema"),
    ({"guided_json": SCHEMA}, "guided_json"),
    ({"guided_choice": ["a", "b"]}, "guided_choice"),
    ({"grammar": "root ::= [0-9]"}, "grammar"),
    ({"json_schema": SCHEMA}, "json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema.schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": [1]}}},
        "response_format.json_schema.schema",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x" * 513, "schema": {}}}},
        "response_format.json_schema.name",
    ),
    ({"response_format": {"type": "json_object", "json_schema": NAMED}}, "response_format.json_schema"),
    ({"structured_outputs": []}, "structured_outputs"),
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"structured_outputs": {"json_object": False}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, "structured_outputs"),
    ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": "[1]"}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": '{"maximum":1e999}'}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": "[" * 60_000}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": 5}}, "structured_outputs.json"),
    ({"structured_outputs": {"regex": 5}}, "structured_outputs.regex"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": ["a"] * 4097}}, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": ["a", 5]}}, "structured_outputs.choice[1]"),
    ({"structured_outputs": {"json_object": 1}}, "structured_outputs.json_object"),
    ({"structured_outputs": {"regex": "a", "structural_tag": "x"}}, "structured_outputs.structural_tag"),
    ({"structured_outputs": {"json": {}, "whitespace_pattern": " "}}, "structured_outputs.whitespace_pattern"),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", BODY), ("/v1/completions", TEXT)])
def test_an_error_names_the_place_in_the_body(backend: Backend, path: str, body: Json, wrong: Json, param: str) -> None:
    error = backend.refused({**body, **wrong}, path=path)
    assert error["param"] == param
    assert error["message"].startswith(param)


@pytest.mark.parametrize(
    ("form", "place"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": NAMED}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"structured_outputs": {"json": SCHEMA}}, "structured_outputs.json"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice"),
        ({"structured_outputs": {"grammar": "a"}}, "structured_outputs.grammar"),
    ],
)
def test_what_the_model_process_refuses_has_its_place_in_the_body(backend: Backend, form: Json, place: str) -> None:
    for rest in ("", ".properties.a.not"):
        param = f"constraint{rest}"
        backend.engine.prepare_error = ValidationError(f"{param} is not supported", param=param)
        error = backend.refused({**BODY, **form})
        assert (error["param"], error["message"]) == (place + rest, f"{place}{rest} is not supported")


def test_the_text_of_a_schema_is_refused_like_a_schema_with_many_values(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec  # noqa: PLC0415 - it is replaced below

    decode, decoded = msgspec.json.decode, list[object]()

    def counted(data: object, **more: Any) -> Any:  # noqa: ANN401 - as msgspec has it
        decoded.append(data)
        return decode(data, **more)  # type: ignore[call-overload] # likewise

    with monkeypatch.context() as patch:
        patch.setattr(msgspec.json, "decode", counted)
        error = backend.refused({**BODY, "structured_outputs": {"json": '{"enum":[%s{}]}' % ("{}," * 70_000)}})
    assert error["param"] == "structured_outputs.json"
    assert decoded
    assert not any(isinstance(data, str) for data in decoded), "the text was decoded"


def test_a_schema_with_many_values_is_refused_before_it_is_decoded(backend: Backend) -> None:
    schema = {"enum": ["a"] * 70_000}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert backend.refused({**BODY, "response_format": form}, 413)["code"] == "request_too_large"
