"""``POST /v1/rerank`` and ``/v2/rerank``: documents ranked for a query, as clients of Cohere and Jina ask for it."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

import attrs
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from starlette.types import Receive, Scope, Send

from mlxknife.domain.engines.values import Accepted, EngineKind
from mlxknife.domain.generation.values.answer import Usage
from mlxknife.domain.reranking.rules.ranking import ranked
from mlxknife.domain.reranking.values import RankedDocument, RerankRequest, Score, ScoreEvent
from mlxknife.http.apis.openai.bodies import TokenCount
from mlxknife.http.apis.openai.decoding import Unsupported, decode, null, refuse_unsupported
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.endpoints import send_json
from mlxknife.http.core.errors import BadRequest
from mlxknife.http.core.leases import answers, leased
from mlxknife.http.core.state import ServerState

_MAX_DOCUMENTS = 1000
_MAX_TOKENS = 1_000_000
"""The most tokens of all documents, each with the query."""
UNSUPPORTED: Unsupported = {
    "max_chunks_per_doc": (1,),
    "priority": (0,),
    "rank_fields": (["text"],),
    "truncate_prompt_tokens": (),
}
"""The fields of other servers that are not supported, with the values besides null that change nothing."""


class RerankDocumentBody(Struct, kw_only=True):
    """A document that is an object."""

    text: str


class RerankBody(Struct, kw_only=True):
    """The body of both endpoints."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | RerankDocumentBody], Meta(min_length=1, max_length=_MAX_DOCUMENTS)]
    top_n: TokenCount | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: TokenCount | None = None
    instruction: str | None = None
    """What makes a document right, for models that are trained with one; neither Cohere nor Jina has it."""
    max_chunks_per_doc: Raw = field(default_factory=null)
    priority: Raw = field(default_factory=null)
    rank_fields: Raw = field(default_factory=null)
    truncate_prompt_tokens: Raw = field(default_factory=null)
    user: Raw = field(default_factory=null)


class RerankDocument(Struct, frozen=True):
    """The text of a document."""

    text: str


class RerankResult(Struct, frozen=True):
    """A document with its score."""

    index: int
    relevance_score: float
    document: RerankDocument | UnsetType = UNSET


class RerankUsage(Struct, frozen=True):
    """The number of tokens, as Jina names it."""

    prompt_tokens: int
    total_tokens: int


class ApiVersion(Struct, frozen=True):
    """The version of Cohere's API."""

    version: Literal["1", "2"]


class RerankTokens(Struct, frozen=True):
    """The number of tokens, as Cohere names it."""

    input_tokens: int


class RerankMeta(Struct, frozen=True):
    """What Cohere says of a response."""

    api_version: ApiVersion
    tokens: RerankTokens
    warnings: tuple[str, ...] | UnsetType = UNSET


class RerankResponse(Struct, frozen=True, kw_only=True):
    """The documents, the best first: what clients of Cohere and of Jina read."""

    id: str
    object: Literal["list"] = "list"
    model: str
    results: tuple[RerankResult, ...]
    usage: RerankUsage
    meta: RerankMeta


def rerank_request(body: RerankBody) -> RerankRequest:
    """Return the request of a body. Raises BadRequest, naming the field."""
    refuse_unsupported(body, UNSUPPORTED)
    documents = tuple(one if isinstance(one, str) else one.text for one in body.documents)
    return RerankRequest(body.query, documents, body.instruction, body.max_tokens_per_doc)


@attrs.frozen
class RerankEndpoint:
    """The endpoint of one version, as an ASGI application."""

    state: ServerState
    version: Literal["1", "2"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one response. Raises KnifeError."""
        context = RequestContext.of(scope)
        body, request = await self.state.decoded(_decode, context.take_body())
        await self.state.run_until_disconnect(self._answer(context, body, request, send), receive)

    async def _answer(self, context: RequestContext, body: RerankBody, request: RerankRequest, send: Send) -> None:
        collected = _Collected(context)
        async with leased(self.state, context, body.model, EngineKind.RERANKING) as lease:
            await answers(lease, request, collected.add)
        self.state.metrics.tokens_used(Usage(collected.tokens, 0))
        has_documents = self.version == "1" if body.return_documents is None else body.return_documents
        documents = ranked(collected.scores, request.documents, body.top_n)
        truncated = sum(score.is_truncated for score in collected.scores)
        warnings = (f"{truncated} of {len(request.documents)} documents were cut to what the model reads",)
        document = RerankResponse(
            id=str(uuid.uuid4()),
            model=body.model,
            results=tuple(_result(one, has_document=has_documents) for one in documents),
            usage=RerankUsage(collected.tokens, collected.tokens),
            meta=RerankMeta(ApiVersion(self.version), RerankTokens(collected.tokens), warnings if truncated else UNSET),
        )
        await send_json(send, document)


@attrs.define(eq=False)
class _Collected:
    """The scores of one response."""

    context: RequestContext
    tokens: int = 0
    scores: list[Score] = attrs.field(factory=list)

    def add(self, event: ScoreEvent) -> None:
        """Take an event. Raises BadRequest where all documents together have too many tokens."""
        if not isinstance(event, Accepted):
            self.scores.append(event)
            return
        self.context.release_body()
        self.tokens = event.prompt_tokens
        if self.tokens > _MAX_TOKENS:
            msg = f"documents have {self.tokens} tokens with the query, and a request may have {_MAX_TOKENS}"
            raise BadRequest(msg, param="documents", hint="Send several requests")


def _result(one: RankedDocument, *, has_document: bool) -> RerankResult:
    return RerankResult(one.index, one.score, RerankDocument(one.text) if has_document else UNSET)


def _decode(data: bytes) -> tuple[RerankBody, RerankRequest]:
    body = decode(data, RerankBody)
    return body, rerank_request(body)
