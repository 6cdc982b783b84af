"""One generation request: acquire the model, submit the request, and send the answers as a document or a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

import attrs
import msgspec
from starlette.types import Receive, Scope, Send

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, TemplateError
from mlxknife.domain.generation.values.generation import FinishReason, Piece, Usage
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, Told
from mlxknife.domain.serving.services.loaded_model import Claim
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.services.servable_models import Prepared, Served
from mlxknife.http.apis.openai import stream
from mlxknife.http.apis.openai.decoding import decode
from mlxknife.http.apis.openai.errors import error_document
from mlxknife.http.apis.openai.requests import GenerationBody
from mlxknife.http.apis.openai.writers import GeneratedAnswer, Writer
from mlxknife.http.core import logs
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.errors import GenerationCancelled
from mlxknife.http.core.state import ServerState
from mlxknife.http.core.streaming import EventQueue, StreamedResponse

Body = TypeVar("Body", bound=GenerationBody)
Event: TypeAlias = tuple[int, Told | KnifeError]
"""The index of an answer, and what the model reports of it."""


@attrs.frozen
class GenerationEndpoint(Generic[Body]):
    """An endpoint that generates text, as an ASGI application."""

    state: ServerState
    body_type: type[Body]
    to_request: Callable[[Body], ChatRequest | TextRequest]
    writer_type: type[Writer]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one response. Raises KnifeError where nothing has been sent yet."""
        context = RequestContext.of(scope)
        body = decode(context.take_body(), self.body_type)
        request = self.to_request(body)
        writer = self.writer_type(body.model, body.includes_usage, request.wanted.top_logprobs is not None)
        response = StreamedResponse(send, stream.HEADERS, stream.KEEP_ALIVE, self.state.options.keep_alive_seconds)
        generation = Generation(self.state, context, body.model, request, writer, response)
        work = generation.send_stream() if body.stream else generation.send_document(send)
        try:
            await self.state.run_until_disconnect(work, receive)
        except KnifeError as exc:
            if not response.has_started:
                raise
            await generation.send_error(exc)


@attrs.define(eq=False)
class Generation:
    """The answers to one request."""

    state: ServerState
    context: RequestContext
    model: str
    """The name as the client wrote it."""
    request: ChatRequest | TextRequest
    writer: Writer
    response: StreamedResponse
    _answers: list[GeneratedAnswer] = attrs.field(init=False)
    _has_first_token: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Make an empty answer for each prompt and each of its ``n``."""
        prompts = len(self.request.prompts) if isinstance(self.request, TextRequest) else 1
        self._answers = [GeneratedAnswer() for _ in range(prompts * self.request.wanted.count)]

    async def send_document(self, send: Send) -> None:
        """Send all answers as one document. Raises KnifeError."""
        async with self._submitted() as events:
            while not self._is_finished:
                deltas, error = merged(await events.get_all())
                if error is not None:
                    raise error
                for index, delta in deltas:
                    self._add(index, delta, keep_text=True)
        body = msgspec.json.encode(self.writer.document(self._answers, self._usage()))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def send_stream(self) -> None:
        """Send the answers while they are generated. Raises KnifeError."""
        chunks = self.writer.opening(len(self._answers))
        async with self.response, self._submitted() as events:
            while True:
                deltas, error = merged(await events.get_all())
                for index, delta in deltas:
                    self._add(index, delta, keep_text=False)
                    chunks += self.writer.chunks(index, delta)
                if self._is_finished and error is None:
                    break
                if chunks and (error is None or self.response.has_started):
                    await self.response.write(stream.events(chunks))
                    chunks = []
                if error is not None:
                    raise error
        usage = self._usage()
        if self.writer.includes_usage:
            chunks.append(self.writer.usage_chunk(usage))
        await self.response.finish(stream.events(chunks) + stream.DONE)

    async def send_error(self, error: KnifeError) -> None:
        """End a stream that has started with an error event."""
        document = error_document(error, self.context.request_id, self.state.redact)
        self.context.detail = document.error.message
        logs.stream_failed(self.context)
        await self.response.finish(stream.error_event(document))

    @asynccontextmanager
    async def _submitted(self) -> AsyncIterator[EventQueue[Event]]:
        """Submit the request, and yield the events of its answers; after the block they are cancelled.

        Raises KnifeError.
        """
        state = self.state
        served = state.serving.known(self.model)
        if served is None:
            served = await state.in_thread(state.serving.find, self.model)
        self.context.model = served.info.name
        lease = await acquire(state.pool, served)
        try:
            prepared = await self._prepare(served, lease)
            self.context.release_body()
            events = EventQueue[Event]()
            lease.answer(prepared, lambda index, event: events.put((index, event)))
            yield events
        finally:
            lease.release()

    async def _prepare(self, served: Served, lease: Claim) -> Prepared:
        """Tokenize the request in a thread; an error of the whole prompt names the field that holds it."""
        try:
            return await self.state.in_thread(self.state.serving.prepare, served, lease.model, self.request)
        except (ContextLengthExceeded, TemplateError) as exc:
            exc.param = exc.param or ("messages" if isinstance(self.request, ChatRequest) else "prompt")
            raise

    @property
    def _is_finished(self) -> bool:
        return all(answer.finish_reason is not None for answer in self._answers)

    def _add(self, index: int, delta: Told, *, keep_text: bool) -> None:
        if not self._has_first_token:
            self._has_first_token = True
            self.state.metrics.first_token(self.context.seconds)
        self._answers[index].add(delta, keep_text=keep_text)

    def _usage(self) -> Usage:
        """Return and count the tokens of the request; a prompt counts once, however many answers it has."""
        count = self.request.wanted.count
        usages = [answer.usage or Usage(0, 0) for answer in self._answers]
        total = Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages[::count]),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages[::count]),
        )
        self.state.metrics.tokens_used(total)
        return total


async def acquire(pool: Residents, served: Served) -> Claim:
    """Wait for a lease of a model. Raises KnifeError; a cancelled wait leaves no lease behind."""
    granted: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()

    def on_claim(result: Claim | KnifeError) -> None:
        if isinstance(result, KnifeError):
            if not granted.done():
                granted.set_exception(result)
        elif granted.done():
            result.release()
        else:
            granted.set_result(result)

    forget = pool.claim(served, on_claim)
    try:
        return await granted
    except asyncio.CancelledError:
        forget()
        if not granted.cancelled() and granted.exception() is None:  # the lease came while the wait was cancelled
            granted.result().release()
        raise


def merged(events: Sequence[Event]) -> tuple[list[tuple[int, Told]], KnifeError | None]:
    """Return one delta for each answer that has some, and the first error; deltas after an error are dropped."""
    deltas: dict[int, Told] = {}
    for index, event in events:
        if isinstance(event, KnifeError):
            return list(deltas.items()), event
        if event.ended is FinishReason.CANCELLED:
            msg = "The answer was cancelled"
            return list(deltas.items()), GenerationCancelled(msg)
        deltas[index] = _joined(deltas[index], event) if index in deltas else event
    return list(deltas.items()), None


def _joined(first: Told, second: Told) -> Told:
    pieces = list(first.pieces)
    for piece in second.pieces:
        if pieces and pieces[-1].kind is piece.kind:
            pieces[-1] = Piece(piece.kind, pieces[-1].text + piece.text)
        else:
            pieces.append(piece)
    return Told(tuple(pieces), first.likelihoods + second.likelihoods, second.ended, usage=second.usage)
