"""One generation request: acquire the model, submit the request, and send the answers as a document or a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Generic, TypeAlias, TypeVar

import attrs
from starlette.types import Receive, Scope, Send

from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta, GenerationEvent, Usage
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.tools.values import ToolMode
from mlxknife.http.apis.openai import stream
from mlxknife.http.apis.openai.bodies import GenerationBody
from mlxknife.http.apis.openai.decoding import decode
from mlxknife.http.apis.openai.errors import error_document
from mlxknife.http.apis.openai.params import ParamNames
from mlxknife.http.apis.openai.requests import param_names
from mlxknife.http.apis.openai.writers import GeneratedAnswer, ResponseForm, Writer
from mlxknife.http.core import logs
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.endpoints import send_json
from mlxknife.http.core.errors import ResponseUnread
from mlxknife.http.core.leases import leased
from mlxknife.http.core.state import ServerState
from mlxknife.http.core.streaming import EventQueue, StreamedResponse

Body = TypeVar("Body", bound=GenerationBody)
Event: TypeAlias = GenerationEvent | KnifeError

_ENTRY_BYTES = 200
"""What a delta or a logprob takes in memory, about."""


@attrs.frozen
class GenerationEndpoint(Generic[Body]):
    """An endpoint that generates text, as an ASGI application."""

    state: ServerState
    body_type: type[Body]
    to_request: Callable[[Body], GenerationRequest]
    writer_type: type[Writer]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one response. Raises KnifeError where nothing has been sent yet."""
        context = RequestContext.of(scope)
        response = StreamedResponse(send, stream.HEADERS, stream.KEEP_ALIVE, self.state.options.keep_alive_seconds)
        called, request = await self.state.decoded(self._decode, context.take_body())
        generation = Generation(self.state, context, request, self.writer_type(called.form), response)
        work = generation.send_stream() if called.is_stream else generation.send_document(send)
        del request  # memory that nothing needs while the answer is generated
        try:
            await self.state.run_until_disconnect(work, receive)
        except KnifeError as exc:
            called.names.rename(exc)
            if not response.has_started:
                raise
            await generation.send_error(exc)

    def _decode(self, data: bytes) -> tuple[_Call, GenerationRequest]:
        """Return what a body means. Raises BadRequest, BodyTooLarge, UnsupportedInput."""
        body = decode(data, self.body_type)
        request = self.to_request(body)
        form = ResponseForm(
            body.model,
            includes_usage=body.includes_usage,
            includes_logprobs=request.options.top_logprobs is not None,
            has_tools=bool(request.tools) and request.tool_choice.mode is not ToolMode.NONE,
            uses_functions=body.uses_functions,
        )
        return _Call(form, bool(body.stream), param_names(body)), request


@attrs.frozen
class _Call:
    """What a body says besides the request."""

    form: ResponseForm
    is_stream: bool
    names: ParamNames


@attrs.define(eq=False)
class Generation:
    """The answers to one request."""

    state: ServerState
    context: RequestContext
    request: GenerationRequest
    """It is deleted when it has been submitted, for the memory of its messages."""
    writer: Writer
    response: StreamedResponse
    _answers: list[GeneratedAnswer] = attrs.field(init=False)
    _answers_per_prompt: int = attrs.field(init=False)
    _has_first_token: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the empty answers."""
        self._answers = [GeneratedAnswer() for _ in range(self.request.answer_count)]
        self._answers_per_prompt = self.request.options.n

    async def send_document(self, send: Send) -> None:
        """Send all answers as one document. Raises KnifeError."""
        async with self._accepted() as events:
            while not self._is_finished:
                deltas, error = merged(await events.get_all())
                if error is not None:
                    raise error
                for delta in deltas:
                    self._add(delta, keep_text=True)
        await send_json(send, self.writer.document(self._answers, self._usage()))

    async def send_stream(self) -> None:
        """Send the answers while they are generated, once the model has accepted the request. Raises KnifeError."""
        chunks = self.writer.opening(len(self._answers))
        async with self._accepted() as events, self.response:
            while True:
                deltas, error = merged(await events.get_all())
                for delta in deltas:
                    self._add(delta, keep_text=False)
                    chunks += self.writer.chunks(delta)
                if self._is_finished and error is None:
                    break
                if chunks and (error is None or self.response.has_started):
                    await self.response.write(stream.events(chunks))
                    chunks = []
                if error is not None:
                    raise error
        usage = self._usage()
        if self.writer.form.includes_usage:
            chunks.append(self.writer.usage_chunk(usage))
        await self.response.finish(stream.events(chunks) + stream.DONE)

    async def send_error(self, error: KnifeError) -> None:
        """End a stream that has started with an error event."""
        document = error_document(error, self.context.request_id, self.state.redact)
        self.context.detail = document.error.message
        logs.stream_failed(self.context)
        await self.response.finish(stream.error_event(document))

    @asynccontextmanager
    async def _accepted(self) -> AsyncIterator[EventQueue[Event]]:
        """Submit the request, and yield its events once it is accepted; after the block it is cancelled.

        Raises KnifeError.
        """
        async with leased(self.state, self.context, self.writer.form.model, EngineKind.TEXT) as lease:

            def on_full() -> Event:
                lease.cancel()
                return ResponseUnread()

            with closing(EventQueue[Event](event_bytes, on_full, self.state.unread)) as events:
                lease.submit(self.request, events.put)
                del self.request
                first, *others = await events.get_all()
                if isinstance(first, KnifeError):
                    raise first
                self.context.release_body()
                for event in others:
                    events.put(event)
                yield events

    @property
    def _is_finished(self) -> bool:
        return all(answer.finish_reason is not None for answer in self._answers)

    def _add(self, delta: Delta, *, keep_text: bool) -> None:
        if not self._has_first_token:
            self._has_first_token = True
            self.state.metrics.first_token(self.context.seconds)
        self._answers[delta.index].add(delta, keep_text=keep_text)

    def _usage(self) -> Usage:
        """Return and count the tokens of the request; a prompt counts once, however many answers it has."""
        count = self._answers_per_prompt
        usages = [answer.usage or Usage(0, 0) for answer in self._answers]
        total = Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages[::count]),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages[::count]),
        )
        self.state.metrics.tokens_used(total)
        return total


def event_bytes(event: Event) -> int:
    """Return about how many bytes of memory an event takes."""
    if not isinstance(event, Delta):
        return _ENTRY_BYTES
    entries = 1 + sum(1 + len(logprob.top) for logprob in event.logprobs) + len(event.tool_calls)
    texts = (*(text.text for text in event.texts), *(call.arguments for call in event.tool_calls))
    return entries * _ENTRY_BYTES + sum(map(len, texts))


def merged(events: Sequence[Event]) -> tuple[list[Delta], KnifeError | None]:
    """Return one delta for each answer that has some, and the first error; deltas after an error are dropped."""
    deltas: dict[int, Delta] = {}
    for event in events:
        if isinstance(event, KnifeError):
            return list(deltas.values()), event
        if isinstance(event, Delta):
            before = deltas.get(event.index)
            deltas[event.index] = event if before is None else before.followed_by(event)
    return list(deltas.values()), None
