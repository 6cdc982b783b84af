"""The description of the API as OpenAPI 3.1, made from the wire types and from the rules that types cannot express."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from mlxknife.http.apis.openai.bodies import (
    MAX_TOKEN_ID,
    UNSUPPORTED_IN_CHAT,
    UNSUPPORTED_IN_COMPLETIONS,
    UNSUPPORTED_IN_MESSAGES,
    ChatCompletionBody,
    CompletionBody,
)
from mlxknife.http.apis.openai.errors import ErrorDocument
from mlxknife.http.apis.openai.requests import MAX_CHOICES
from mlxknife.http.apis.openai.responses import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    ModelCard,
    ModelList,
    Welcome,
)
from mlxknife.http.core.endpoints import HealthDocument, ReadinessDocument
from mlxknife.version import __version__

Json: TypeAlias = dict[str, Any]

_TYPES = (
    *(ChatCompletionBody, CompletionBody, ChatCompletion, ChatCompletionChunk, Completion),
    *(ModelList, ModelCard, HealthDocument, ReadinessDocument, Welcome, ErrorDocument),
)
_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_COMMON_ERRORS = {
    "400": "The request is wrong: error.param names the field",
    "401": "The API key is missing or wrong",
    "403": "The host name or the origin of the page is not allowed",
}
_INTERNAL_ERROR = {"500": "The server failed on this request"}
_MODEL_ERRORS = {"404": "The model does not exist", "422": "The model cannot run here", **_INTERNAL_ERROR}
_GENERATION_ERRORS = {
    **_MODEL_ERRORS,
    "408": "The body came too slowly",
    "413": "The body is too large or has too many values",
    "415": "The body is not JSON",
    "429": "Too many requests are waiting or running",
    "503": "The model or the server is not available at the moment",
    "507": "The model does not fit into memory",
}
_CHOICES_LIMIT = f"n times the number of prompts is at most {MAX_CHOICES}"
_NULL: Json = {"type": "null"}
_STRING: Json = {"type": "string"}


def describe() -> Json:
    """Return the description."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    _add_conditions(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLX Knife",
            "version": __version__,
            "description": "Language models for MLX over OpenAI's API.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _paths() -> Json:
    name: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    readiness = _json("ReadinessDocument")
    return {
        "/": {"get": _get("What this server is", "Welcome")},
        "/v1": {"get": _get("What this server is", "Welcome")},
        "/v1/chat/completions": {
            "post": _generate("Answer a conversation", "ChatCompletionBody", "ChatCompletion"),
        },
        "/v1/completions": {"post": _generate("Continue texts", "CompletionBody", "Completion")},
        "/v1/models": {"get": _get("List the models that can run", "ModelList")},
        "/v1/models/{id}": {"get": {**_get("Describe a model", "ModelCard", _MODEL_ERRORS), "parameters": [name]}},
        "/health": {"get": _get("Whether the server is alive", "HealthDocument")},
        "/ready": {
            "get": _operation(
                "Whether the server takes requests",
                {"200": _response("It does", readiness), "503": _response("It does not at the moment", readiness)},
            ),
        },
        "/metrics": {
            "get": _operation("Metrics", {"200": _response("The metrics", {"text/plain": {"schema": _STRING}})}),
        },
        "/openapi.json": {"get": _operation("This description", {"200": _response("This description", {_JSON: {}})})},
    }


def _generate(summary: str, body: str, document: str) -> Json:
    content = {**_json(document), "text/event-stream": {"schema": _STRING}}
    operation = _operation(summary, {"200": _response("The answer, whole or as a stream", content)}, _GENERATION_ERRORS)
    return {**operation, "requestBody": {"required": True, "content": _json(body)}}


def _get(summary: str, document: str, errors: dict[str, str] | None = None) -> Json:
    return _operation(summary, {"200": _response(summary, _json(document))}, errors or _INTERNAL_ERROR)


def _operation(summary: str, responses: Json, errors: dict[str, str] | None = None) -> Json:
    error_document = _json("ErrorDocument")
    described = {**_COMMON_ERRORS, **(errors or {})}
    return {
        "summary": summary,
        "responses": {**responses, **{status: _response(text, error_document) for status, text in described.items()}},
    }


def _response(text: str, content: Json) -> Json:
    return {"description": text, "content": content}


def _json(schema: str) -> Json:
    return {_JSON: {"schema": {"$ref": _REF.format(name=schema)}}}


def _add_conditions(schemas: Json) -> None:
    """Add what ``requests.py`` checks in code, as far as a schema can express it."""
    chat, completion = schemas["ChatCompletionBody"], schemas["CompletionBody"]
    for schema, unsupported in (
        (chat, UNSUPPORTED_IN_CHAT),
        (completion, UNSUPPORTED_IN_COMPLETIONS),
        (schemas["MessageBody"], UNSUPPORTED_IN_MESSAGES),
    ):
        for name, neutral in unsupported.items():
            schema["properties"][name] = {
                "enum": [None, *neutral],
                "description": "Not supported yet: any other value is refused with 400",
            }
    chat["allOf"] = [_needs("stream_options", "stream"), _needs("top_logprobs", "logprobs", 0)]
    chat["properties"]["n"]["description"] = "The number of answers"
    completion["allOf"] = [_needs("stream_options", "stream"), _excludes("echo", "logprobs")]
    completion["properties"]["prompt"] = {**_prompt(), "description": f"The prompts; {_CHOICES_LIMIT}"}
    completion["properties"]["n"]["description"] = f"The number of answers to each prompt; {_CHOICES_LIMIT}"
    for schema in (chat, completion):
        schema["properties"]["logit_bias"]["anyOf"][0]["propertyNames"] = {"pattern": "^[0-9]{1,9}$"}
    schemas["StreamOptions"]["properties"]["include_obfuscation"] = {"enum": [None, False]}
    schemas["MessageBody"]["anyOf"] = [
        {"properties": {"role": {"const": "assistant"}}},
        {"required": ["content"], "properties": {"content": {"not": _NULL}}},
    ]
    schemas["ContentPart"] |= {
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
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


def _prompt() -> Json:
    text: Json = {"type": "string", "minLength": 1}
    token: Json = {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID}
    tokens: Json = {"type": "array", "items": token, "minItems": 1}
    several: Json = {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES}
    return {"anyOf": [text, tokens, {**several, "items": text}, {**several, "items": tokens}]}
