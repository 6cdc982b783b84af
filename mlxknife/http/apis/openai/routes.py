"""OpenAI's API: its paths, its endpoints, and how it reads a key and writes an error."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Literal

import attrs
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlxknife.domain.catalog.services.runnable import engine_kind
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.serving.values import ModelState
from mlxknife.http.apis.openai import errors
from mlxknife.http.apis.openai.bodies import ChatCompletionBody, CompletionBody
from mlxknife.http.apis.openai.embeddings import EmbeddingsEndpoint
from mlxknife.http.apis.openai.generation import GenerationEndpoint
from mlxknife.http.apis.openai.openapi import describe
from mlxknife.http.apis.openai.requests import chat_request, completion_request
from mlxknife.http.apis.openai.reranking import RerankEndpoint
from mlxknife.http.apis.openai.responses import ModelCard, ModelList, Welcome
from mlxknife.http.apis.openai.writers import ChatWriter, CompletionWriter
from mlxknife.http.core.api import ErrorResponse
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.endpoints import json_response
from mlxknife.http.core.state import ServerState
from mlxknife.version import __version__

CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
RERANK_PATHS: dict[str, Literal["1", "2"]] = {"/v1/rerank": "1", "/v2/rerank": "2"}
"""Each with the version of Cohere's API that it has."""
_KINDS: dict[EngineKind, Literal["text", "embedding", "reranking"]] = {
    EngineKind.EMBEDDING: "embedding",
    EngineKind.RERANKING: "reranking",
}
_BEARER = b"bearer "
_LOCAL_OWNER = "local"


@attrs.frozen
class OpenAiApi:
    """OpenAI's API; fulfils ``core.api.Api``."""

    state: ServerState

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the paths of this API."""
        return (*self.model_paths, "/v1/models", "/openapi.json")

    @property
    def model_paths(self) -> tuple[str, ...]:
        """Return the paths that use a model."""
        return (CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, *RERANK_PATHS)

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        chat = GenerationEndpoint(self.state, ChatCompletionBody, chat_request, ChatWriter)
        completions = GenerationEndpoint(self.state, CompletionBody, completion_request, CompletionWriter)
        return [
            Route(CHAT_PATH, chat, methods=["POST"]),
            Route(COMPLETIONS_PATH, completions, methods=["POST"]),
            Route(EMBEDDINGS_PATH, EmbeddingsEndpoint(self.state), methods=["POST"]),
            *(
                Route(path, RerankEndpoint(self.state, version), methods=["POST"])
                for path, version in RERANK_PATHS.items()
            ),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{id:path}", self._model, methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            *(Route(path, _welcome, methods=["GET"]) for path in ("/", "/v1", "/v1/")),
        ]

    def read_key(self, context: RequestContext) -> bytes:
        """Return the key of ``Authorization: Bearer KEY``, else that of ``X-API-Key: KEY``.

        A header that is missing or repeated has no key.
        """
        given = _only(context.header_values(b"authorization"))
        if given[: len(_BEARER)].lower() == _BEARER:
            return given[len(_BEARER) :].strip()
        return _only(context.header_values(b"x-api-key"))

    def error_response(self, error: KnifeError, request_id: str) -> ErrorResponse:
        """Return an error as OpenAI's clients read it."""
        return errors.error_response(error, request_id, self.state.redact)

    async def _models(self, request: Request) -> Response:
        del request
        models = await self.state.models()
        loaded = self._loaded()
        return json_response(ModelList(data=tuple(_card(info, loaded) for info in models)))

    async def _model(self, request: Request) -> Response:
        """Describe a model by any name that a request may use. Raises ModelNotFound, AmbiguousMatch."""
        model = await self.state.in_thread(self.state.servable.find, request.path_params["id"])
        return json_response(_card(model.info, self._loaded()))

    def _loaded(self) -> frozenset[str]:
        return frozenset(one.name for one in self.state.pool.loaded() if one.state is ModelState.READY)


def _only(values: Sequence[bytes]) -> bytes:
    return values[0] if len(values) == 1 else b""


async def _welcome(request: Request) -> Response:
    root = request.scope.get("root_path", "")
    document = Welcome(
        version=__version__, api=f"{root}/v1", models=f"{root}/v1/models", openapi=f"{root}/openapi.json"
    )
    return json_response(document)


async def _openapi(request: Request) -> Response:
    del request
    return Response(_description(), media_type="application/json")


@lru_cache(1)
def _description() -> bytes:
    return msgspec.json.encode(describe())


def _card(info: ModelInfo, loaded: Collection[str]) -> ModelCard:
    owner, slash, _ = info.name.partition("/")
    return ModelCard(
        id=info.name,
        created=max(0, int(info.modified)),
        owned_by=owner if slash else _LOCAL_OWNER,
        kind=_KINDS.get(engine_kind(info) or EngineKind.TEXT, "text"),
        context_length=info.traits.context_length,
        loaded=info.name in loaded,
    )
