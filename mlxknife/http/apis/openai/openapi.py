"""The description of the API as OpenAPI 3.1, made from the wire types and ``conditions.py``."""

from __future__ import annotations

import msgspec

from mlxknife.http.apis.openai.bodies import ChatCompletionBody, CompletionBody, EmbeddingBody
from mlxknife.http.apis.openai.conditions import Json, add_conditions
from mlxknife.http.apis.openai.errors import ErrorDocument
from mlxknife.http.apis.openai.reranking import RerankBody, RerankResponse
from mlxknife.http.apis.openai.responses import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    EmbeddingList,
    ModelCard,
    ModelList,
    Welcome,
)
from mlxknife.http.core.endpoints import HealthDocument, ReadinessDocument
from mlxknife.version import __version__

_TYPES = (
    *(ChatCompletionBody, CompletionBody, ChatCompletion, ChatCompletionChunk, Completion),
    *(EmbeddingBody, EmbeddingList, RerankBody, RerankResponse),
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
_MODEL_USE_ERRORS = {
    **_MODEL_ERRORS,
    "408": "The body came too slowly",
    "413": "The body is too large or has too many values",
    "415": "The body is not JSON",
    "429": "Too many requests are waiting or running",
    "503": "The model or the server is not available at the moment",
    "507": "The model does not fit into memory",
}
_STRING: Json = {"type": "string"}


def describe() -> Json:
    """Return the description."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    add_conditions(schemas)
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
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
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
        "/v1/embeddings": {"post": _post("Embed texts", "EmbeddingBody", _json("EmbeddingList"))},
        "/v1/rerank": {"post": _post("Rank documents for a query", "RerankBody", _json("RerankResponse"))},
        "/v2/rerank": {"post": _post("Rank documents for a query", "RerankBody", _json("RerankResponse"))},
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
    return _post(summary, body, {**_json(document), "text/event-stream": {"schema": _STRING}})


def _post(summary: str, body: str, content: Json) -> Json:
    """Describe an endpoint that uses a model; where its response has two types, one of them is a stream."""
    text = "The answer" if len(content) == 1 else "The answer, whole or as a stream"
    operation = _operation(summary, {"200": _response(text, content)}, _MODEL_USE_ERRORS)
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
