"""The description of this API as OpenAPI 3.1, made from the types that read and write it."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from mlxknife.http.wire.chat_request import ChatBody
from mlxknife.http.wire.conditions import say_conditions
from mlxknife.http.wire.documents import (
    ChatChunk,
    ChatCompletion,
    ErrorDocument,
    Health,
    ModelCard,
    ModelList,
    Readiness,
    TextCompletion,
    Welcome,
)
from mlxknife.http.wire.text_request import TextBody
from mlxknife.version import __version__

Json: TypeAlias = dict[str, Any]

_REQUESTS = (ChatBody, TextBody)
_ANSWERS = (ChatCompletion, ChatChunk, TextCompletion, ModelList, ModelCard, Health, Readiness, Welcome, ErrorDocument)
_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_ANYWHERE = {
    "400": "The request cannot be right: error.param names the field",
    "401": "The key is missing or wrong",
    "403": "The name of the host or the origin of the page is not allowed",
}
_FOR_MODELS = {"404": "No such model", "422": "The model cannot run here", "500": "Something failed inside the server"}
_FOR_BODIES = {
    "408": "The body did not come in time",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "429": "Too many requests wait or run",
    "503": "The model, or the server, is not available at the moment",
    "507": "The model does not fit into the memory",
}


def describe() -> Json:
    """Return the description."""
    _, schemas = msgspec.json.schema_components((*_REQUESTS, *_ANSWERS), ref_template=_REF)
    say_conditions(schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "MLX Knife", "version": __version__, "description": "Language models for MLX, as OpenAI's."},
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _paths() -> Json:
    name: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    answers = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "/": {"get": _getting("What this is, and where to go on", "Welcome")},
        "/v1": {"get": _getting("The same", "Welcome")},
        "/v1/chat/completions": {"post": _asking("Answer a conversation", "ChatBody", "ChatCompletion", answers)},
        "/v1/completions": {"post": _asking("Go on with texts", "TextBody", "TextCompletion", answers)},
        "/v1/models": {"get": _getting("List the models that can run", "ModelList")},
        "/v1/models/{id}": {
            "get": {**_getting("Describe a model", "ModelCard", _FOR_MODELS), "parameters": [name]},
        },
        "/health": {"get": _getting("Whether the server is alive", "Health")},
        "/ready": {"get": _ready()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {
            "get": {"summary": "This", "responses": {"200": _answer("This", {_JSON: {}}), **_errors(_ANYWHERE)}}
        },
    }


def _asking(summary: str, body: str, document: str, more: Json) -> Json:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {_JSON: {"schema": _ref(body)}}},
        "responses": {
            "200": _answer("The answer, at once or as it comes", {_JSON: {"schema": _ref(document)}, **more}),
            **_errors({**_ANYWHERE, **_FOR_MODELS, **_FOR_BODIES}),
        },
    }


def _getting(summary: str, document: str, more: dict[str, str] | None = None) -> Json:
    found = _answer(summary, {_JSON: {"schema": _ref(document)}})
    return {"summary": summary, "responses": {"200": found, **_errors({**_ANYWHERE, **(more or _some("500"))})}}


def _ready() -> Json:
    content = {_JSON: {"schema": _ref("Readiness")}}
    answers = {"200": _answer("It does", content), "503": _answer("Not at the moment", content)}
    return {"summary": "Whether the server takes requests", "responses": {**answers, **_errors(_ANYWHERE)}}


def _metrics() -> Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": "Numbers", "responses": {"200": _answer("The numbers", content), **_errors(_ANYWHERE)}}


def _some(*statuses: str) -> dict[str, str]:
    return {status: _FOR_MODELS[status] for status in statuses}


def _errors(described: dict[str, str]) -> Json:
    content = {_JSON: {"schema": _ref("ErrorDocument")}}
    return {status: _answer(text, content) for status, text in described.items()}


def _answer(text: str, content: Json) -> Json:
    return {"description": text, "content": content}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}
