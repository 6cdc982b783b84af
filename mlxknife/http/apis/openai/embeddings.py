"""``POST /v1/embeddings``: the embeddings of texts."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import cast

import attrs
import msgspec
from starlette.types import Receive, Scope, Send

from mlxknife.domain.embedding.values import Embedding, EmbeddingEvent, EmbeddingRequest
from mlxknife.domain.engines.values import Accepted, EngineKind
from mlxknife.domain.generation.values.answer import Usage
from mlxknife.http.apis.openai.bodies import UNSUPPORTED_IN_EMBEDDINGS, EmbeddingBody
from mlxknife.http.apis.openai.decoding import decode, refuse_unsupported
from mlxknife.http.apis.openai.responses import EmbeddingList, EmbeddingObject, EmbeddingUsage
from mlxknife.http.apis.openai.texts import text_count, texts
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.endpoints import send_json
from mlxknife.http.core.errors import BadRequest
from mlxknife.http.core.leases import answers, leased
from mlxknife.http.core.state import ServerState

MAX_TEXTS = 2048
"""The most texts of a request."""
MAX_TOKENS = 300_000
"""The most tokens of all texts of a request."""
_DIGITS = 8
"""The decimals of a value: a float32 of a vector of length 1 has no more."""
_QUERIES = ("query", "search_query")


def embedding_request(body: EmbeddingBody) -> EmbeddingRequest:
    """Return the request of a body. Raises BadRequest, naming the field."""
    refuse_unsupported(body, UNSUPPORTED_IN_EMBEDDINGS)
    count = text_count(body.input)
    if count > MAX_TEXTS:
        msg = f"input has {count} entries, and a request may have {MAX_TEXTS}"
        raise BadRequest(msg, param="input", hint="Send several requests")
    return EmbeddingRequest(
        texts(body.input, "input"),
        is_query=body.input_type in _QUERIES,
        dimensions=body.dimensions,
        allows_truncation=bool(body.truncate),
    )


@attrs.frozen
class EmbeddingsEndpoint:
    """The endpoint, as an ASGI application."""

    state: ServerState

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one response. Raises KnifeError."""
        context = RequestContext.of(scope)
        body, request = await self.state.decoded(_decode, context.take_body())
        await self.state.run_until_disconnect(self._answer(context, body, request, send), receive)

    async def _answer(
        self, context: RequestContext, body: EmbeddingBody, request: EmbeddingRequest, send: Send
    ) -> None:
        collected = _Collected(context, is_base64=body.encoding_format == "base64")
        async with leased(self.state, context, body.model, EngineKind.EMBEDDING) as lease:
            await answers(lease, request, collected.add)
        self.state.metrics.tokens_used(Usage(collected.tokens, 0))
        await send_json(send, collected.document(body.model))


@attrs.define(eq=False)
class _Collected:
    """The embeddings of one response. Each is encoded as soon as it is there: as bytes, it takes the least memory."""

    context: RequestContext
    is_base64: bool
    tokens: int = 0
    _entries: dict[int, msgspec.Raw] = attrs.field(factory=dict)

    def add(self, event: EmbeddingEvent) -> None:
        """Take an event. Raises BadRequest where all texts together have too many tokens."""
        if isinstance(event, Accepted):
            self.context.release_body()
            self.tokens = event.prompt_tokens
            if self.tokens > MAX_TOKENS:
                msg = f"input has {self.tokens} tokens, and a request may have {MAX_TOKENS}"
                raise BadRequest(msg, param="input", hint="Send several requests")
        else:
            self._entries[event.index] = msgspec.Raw(msgspec.json.encode(self._entry(event)))

    def document(self, model: str) -> EmbeddingList:
        """Return the response document."""
        entries = tuple(self._entries[index] for index in sorted(self._entries))
        usage = EmbeddingUsage(self.tokens, self.tokens)
        return EmbeddingList(data=cast("tuple[EmbeddingObject, ...]", entries), model=model, usage=usage)

    def _entry(self, event: Embedding) -> EmbeddingObject:
        if self.is_base64:
            return EmbeddingObject(index=event.index, embedding=_base64(event.vector))
        return EmbeddingObject(index=event.index, embedding=tuple(round(value, _DIGITS) for value in event.vector))


def _base64(vector: tuple[float, ...]) -> str:
    """Return a vector as OpenAI's clients read it: float32, little-endian."""
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values).decode("ascii")


def _decode(data: bytes) -> tuple[EmbeddingBody, EmbeddingRequest]:
    body = decode(data, EmbeddingBody)
    return body, embedding_request(body)
