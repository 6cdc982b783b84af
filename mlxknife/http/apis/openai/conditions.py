"""What a body must fulfil besides its types, as conditions of JSON Schema, for the OpenAPI description."""

from __future__ import annotations

from typing import Any, TypeAlias

from mlxknife.http.apis.openai import reranking
from mlxknife.http.apis.openai.bodies import (
    MAX_TOKEN_ID,
    UNSUPPORTED_FORMS,
    UNSUPPORTED_IN_CHAT,
    UNSUPPORTED_IN_COMPLETIONS,
    UNSUPPORTED_IN_EMBEDDINGS,
    UNSUPPORTED_IN_MESSAGES,
    UNSUPPORTED_IN_STRUCTURED_OUTPUTS,
)
from mlxknife.http.apis.openai.constraints import FORMS
from mlxknife.http.apis.openai.embeddings import MAX_TEXTS
from mlxknife.http.apis.openai.requests import MAX_BIAS, MAX_CHOICES

Json: TypeAlias = dict[str, Any]

_CHOICES_LIMIT = f"n times the number of prompts is at most {MAX_CHOICES}"
_NULL: Json = {"type": "null"}
_UNSET_LIST: Json = {"enum": [None, []]}


def add_conditions(schemas: Json) -> None:
    """Add to the schemas of the types what is checked in code, as far as a schema can express it."""
    _refuse_unsupported(schemas)
    chat, completion = schemas["ChatCompletionBody"], schemas["CompletionBody"]
    for schema in (chat, completion):
        schema["allOf"] = [_needs("stream_options", "stream"), _one_form()]
        bias: Json = {"type": "number", "minimum": -MAX_BIAS, "maximum": MAX_BIAS}
        schema["properties"]["logit_bias"]["anyOf"][0] |= {
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": bias,
        }
    chat["allOf"] += [_needs("top_logprobs", "logprobs", 0), _one_name_of_tools()]
    chat["properties"]["n"]["description"] = "The number of answers"
    completion["allOf"].append(_excludes("echo", "logprobs"))
    completion["properties"]["prompt"] = {**_texts(MAX_CHOICES), "description": f"The prompts; {_CHOICES_LIMIT}"}
    completion["properties"]["n"]["description"] = f"The number of answers to each prompt; {_CHOICES_LIMIT}"
    texts = _texts(MAX_TEXTS)
    schemas["EmbeddingBody"]["properties"]["input"] = {**texts, "description": f"The texts: at most {MAX_TEXTS}"}
    schemas["StreamOptions"]["properties"]["include_obfuscation"] = {"enum": [None, False]}
    schemas["MessageBody"]["allOf"] = _of_message()
    schemas["ContentPart"] |= {
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
    }
    schemas["ResponseFormatBody"]["anyOf"] = [
        {"allOf": [{"properties": {"type": {"const": "json_schema"}, "schema": _NULL}}, _given("json_schema")]},
        {"properties": {"type": {"const": "json_object"}, "json_schema": _NULL}},
        {"properties": {"type": {"const": "text"}, "json_schema": _NULL, "schema": _NULL}},
    ]
    schemas["StructuredOutputsBody"]["oneOf"] = [_given(name) for name in FORMS]


def _refuse_unsupported(schemas: Json) -> None:
    for name, unsupported in (
        ("ChatCompletionBody", {**UNSUPPORTED_IN_CHAT, **UNSUPPORTED_FORMS}),
        ("CompletionBody", {**UNSUPPORTED_IN_COMPLETIONS, **UNSUPPORTED_FORMS}),
        ("EmbeddingBody", UNSUPPORTED_IN_EMBEDDINGS),
        ("RerankBody", reranking.UNSUPPORTED),
        ("MessageBody", UNSUPPORTED_IN_MESSAGES),
        ("StructuredOutputsBody", UNSUPPORTED_IN_STRUCTURED_OUTPUTS),
    ):
        for field, neutral in unsupported.items():
            schemas[name]["properties"][field] = {
                "enum": [None, *neutral],
                "description": "Not supported yet: any other value is refused with 400",
            }


def _of_message() -> list[Json]:
    """Return the conditions of a message."""
    has_calls: Json = {
        "anyOf": [_given("tool_calls", {"not": _UNSET_LIST}), _given("function_call")],
    }
    return [
        {"anyOf": [_has_role("assistant"), _given("content")]},
        {"anyOf": [_has_role("assistant"), {"not": has_calls}]},
        {"anyOf": [{"not": _given("function_call")}, {"properties": {"tool_calls": _UNSET_LIST}}]},
        {"anyOf": [{"not": _has_role("tool")}, _given("tool_call_id")]},
        {"anyOf": [{"not": _has_role("function")}, _given("name")]},
    ]


def _has_role(role: str) -> Json:
    return {"properties": {"role": {"const": role}}}


def _given(field: str, value: Json | None = None) -> Json:
    """Return the condition that a field has a value, which is neither null nor false."""
    return {"required": [field], "properties": {field: value or {"not": {"enum": [None, False]}}}}


def _one_form() -> Json:
    """Return the condition that a form of the answer is asked for only once."""
    unset: Json = {"anyOf": [_NULL, {"properties": {"type": {"const": "text"}}}]}
    return {"anyOf": [{"properties": {"response_format": unset}}, {"properties": {"structured_outputs": _NULL}}]}


def _one_name_of_tools() -> Json:
    """Return the condition that the deprecated names of tools do not occur beside the new ones."""
    return {
        "anyOf": [
            {"properties": {"tools": _UNSET_LIST, "tool_choice": _NULL}},
            {"properties": {"functions": _UNSET_LIST, "function_call": _NULL}},
        ]
    }


def _needs(field: str, other: str, *neutral: object) -> Json:
    """Return the condition that a field is only allowed where another one is true."""
    return {
        "anyOf": [
            {"properties": {field: {"enum": [None, *neutral]}}},
            {"required": [other], "properties": {other: {"const": True}}},
        ]
    }


def _excludes(field: str, other: str) -> Json:
    """Return the condition that a field is not allowed where another one is true."""
    return {"anyOf": [{"properties": {field: {"enum": [None, False]}}}, {"properties": {other: _NULL}}]}


def _texts(most: int) -> Json:
    """Return the schema of texts, each a string or its token ids."""
    text: Json = {"type": "string", "minLength": 1}
    token: Json = {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID}
    tokens: Json = {"type": "array", "items": token, "minItems": 1}
    several: Json = {"type": "array", "minItems": 1, "maxItems": most}
    return {"anyOf": [text, tokens, {**several, "items": text}, {**several, "items": tokens}]}
