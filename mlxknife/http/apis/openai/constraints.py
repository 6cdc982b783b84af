"""The form of the answers that a body asks for: ``response_format``, or vLLM's ``structured_outputs``."""

from __future__ import annotations

import msgspec

from mlxknife.domain.constraints.values import Constraint
from mlxknife.http.apis.openai.bodies import (
    UNSUPPORTED_FORMS,
    UNSUPPORTED_IN_STRUCTURED_OUTPUTS,
    GenerationBody,
    JsonObject,
    ResponseFormatBody,
    StructuredOutputsBody,
)
from mlxknife.http.apis.openai.decoding import refuse_unsupported
from mlxknife.http.core.errors import BadRequest
from mlxknife.http.core.limits import BODY_VALUES

FORMS = ("json", "regex", "choice", "grammar", "json_object")
"""The fields of ``structured_outputs`` of which one is given."""


def constraint(body: GenerationBody) -> Constraint | None:
    """Return the form that a body asks for. Raises BadRequest, naming the field."""
    refuse_unsupported(body, UNSUPPORTED_FORMS, hint="Use response_format or structured_outputs")
    form = None if body.response_format is None else _of_response_format(body.response_format)
    if body.structured_outputs is None:
        return form
    if form is not None:
        msg = "structured_outputs cannot be combined with response_format"
        raise BadRequest(msg, param="structured_outputs", hint="Leave one of them out")
    return _of_structured_outputs(body.structured_outputs)


def constraint_place(body: GenerationBody) -> str:
    """Return where the form stands in a body, for the errors of the model process."""
    outputs = body.structured_outputs
    if outputs is not None:
        return ".".join(["structured_outputs", *_forms(outputs)[:1]])
    form = body.response_format
    if form is not None and form.schema is not None:
        return "response_format.schema"
    return "response_format.json_schema.schema" if form is not None and form.json_schema else "response_format"


def _of_response_format(body: ResponseFormatBody) -> Constraint | None:
    place = "response_format"
    for name, schema, kind in (
        ("json_schema", body.json_schema, "json_schema"),
        ("schema", body.schema, "json_object"),
    ):
        if schema is not None and body.type != kind:
            msg = f"{place}.{name} has no effect with the type {body.type}"
            raise BadRequest(msg, param=f"{place}.{name}", hint=f"Set response_format.type to {kind}")
    if body.type == "text":
        return None
    if body.type == "json_object":
        return Constraint.json_object() if body.schema is None else Constraint.json_schema(_text(body.schema))
    if body.json_schema is None:
        msg = f"{place}.json_schema is missing"
        raise BadRequest(msg, param=f"{place}.json_schema")
    return Constraint.json_schema(_text(body.json_schema.schema))


def _of_structured_outputs(body: StructuredOutputsBody) -> Constraint:
    place = "structured_outputs"
    refuse_unsupported(body, UNSUPPORTED_IN_STRUCTURED_OUTPUTS, f"{place}.")
    forms = _forms(body)
    if len(forms) != 1:
        given = f"not {' and '.join(forms)}" if forms else "and has none of them"
        msg = f"{place} must have exactly one of {', '.join(FORMS)}, {given}"
        raise BadRequest(msg, param=place)
    if body.json is not None:
        return Constraint.json_schema(_schema_text(body.json, f"{place}.json"))
    if body.regex is not None:
        return Constraint.regex(body.regex)
    if body.grammar is not None:
        return Constraint.grammar(body.grammar)
    return Constraint.choice(*body.choice) if body.choice else Constraint.json_object()


def _forms(body: StructuredOutputsBody) -> list[str]:
    """Return the names of the forms that are asked for."""
    return [name for name in FORMS if getattr(body, name) not in (None, False)]


def _schema_text(schema: str | JsonObject, place: str) -> str:
    if isinstance(schema, str):
        excess = BODY_VALUES.excess(schema.encode())
        if excess is not None:
            msg = f"{place} has {excess}"
            raise BadRequest(msg, param=place)
        try:
            schema = msgspec.json.decode(schema, type=JsonObject)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
            msg = f"{place} must be a JSON schema: an object, or the text of one"
            raise BadRequest(msg, param=place) from exc
    return _text(schema)


def _text(schema: JsonObject) -> str:
    return msgspec.json.encode(schema).decode()
