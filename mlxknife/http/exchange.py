"""One request to a model, from its body to the last byte of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import attrs
import msgspec
from starlette.types import Receive, Send

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, TemplateError
from mlxknife.domain.generation.values.generation import FinishReason, Piece, PieceKind, Usage
from mlxknife.domain.generation.values.requests import ChatRequest, TokenLikelihood, Told
from mlxknife.domain.serving.values.processes import HostedModel
from mlxknife.http import logs
from mlxknife.http.bridge import Telling, claimed
from mlxknife.http.errors import failure
from mlxknife.http.front import Front, stopping
from mlxknife.http.guards.bodies import Account
from mlxknife.http.needs import Claim, Prepared, Request, Served
from mlxknife.http.refusals import Refusal
from mlxknife.http.streaming import EventStream, event_bytes, events_bytes
from mlxknife.http.visit import Visit

_SEVERAL = 2


@attrs.define
class Whole:
    """One answer, as far as it has come."""

    pieces: list[Piece] = attrs.field(factory=list)
    likelihoods: list[TokenLikelihood] = attrs.field(factory=list)
    ended: FinishReason | None = None
    usage: Usage | None = None

    def add(self, told: Told) -> None:
        """Take what was told of it."""
        self.pieces += told.pieces
        self.likelihoods += told.likelihoods
        self.note_end(told)

    def note_end(self, told: Told) -> None:
        """Take what was told of its end only."""
        self.ended = told.ended or self.ended
        self.usage = told.usage or self.usage

    def text(self, kind: PieceKind) -> str:
        """Return all that was said, of one kind."""
        return "".join(piece.text for piece in self.pieces if piece.kind is kind)


class Form(Protocol):
    """How an endpoint writes its answers down."""

    def opening(self, count: int) -> Sequence[msgspec.Struct]:
        """Return what a stream begins with."""
        ...

    def events(self, index: int, told: Told) -> Sequence[msgspec.Struct]:
        """Return the events for what was told of an answer."""
        ...

    def tokens(self, usage: Usage) -> msgspec.Struct:
        """Return the event that tells the number of tokens."""
        ...

    def document(self, answers: Sequence[Whole], usage: Usage) -> msgspec.Struct:
        """Return the whole answer."""
        ...


@attrs.frozen
class Order:
    """What a body asks for."""

    model: str
    request: Request
    answers: int
    """How many answers there will be, over all prompts."""
    is_stream: bool
    has_usage: bool
    """Whether a stream ends with the number of tokens."""
    form: Form


@attrs.define(eq=False)
class Exchange:
    """Answers one order; ``stop`` ends it from outside."""

    front: Front
    visit: Visit
    order: Order
    account: Account
    send: Send
    _claim: Claim | None = attrs.field(default=None, init=False)
    _telling: Telling | None = attrs.field(default=None, init=False)
    _work: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _is_stopped: bool = attrs.field(default=False, init=False)
    _has_spoken: bool = attrs.field(default=False, init=False)
    _answers: list[Whole] = attrs.field(init=False)
    _stream: EventStream = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make room for the answers."""
        self._answers = [Whole() for _ in range(self.order.answers)]
        self._stream = EventStream(self.send, self.front.options.keep_alive_seconds)

    async def run(self, receive: Receive) -> None:
        """Answer, unless the client goes away. Raises KnifeError where nothing has been sent yet."""
        work = self._work = asyncio.create_task(self._answer())
        gone = asyncio.create_task(_disconnected(receive))
        try:
            with self.front.answering(self):
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        try:
            if not work.cancelled():
                work.result()
            elif self._is_stopped:
                await self._fail(b"", stopping())
            else:
                self.visit.detail = "the client went away"
        finally:  # an error knows this frame and this request: if they knew it too, all would stay until a collection
            self._work = None
            del work

    def stop(self) -> None:
        """End it with an error that says that the server stops."""
        self._is_stopped = True
        if self._telling is not None:
            self._telling.hear(0, stopping())
        elif self._work is not None:
            self._work.cancel()

    async def _answer(self) -> None:
        telling = Telling(self.front.options.keep_alive_seconds)
        try:
            await (self._streamed(telling) if self.order.is_stream else self._whole(telling))
        finally:
            telling.close()
            if self._claim is not None:
                self._claim.cancel()
                self._claim.release()

    async def _begun(self, telling: Telling) -> list[tuple[int, Told | KnifeError]]:
        """Ask the model, once it is there for us; return the first that is told."""
        front = self.front
        served: Served = front.serving.known(self.order.model)
        if served is None:
            served = await front.in_thread(front.serving.find, self.order.model)
        self.visit.model = served.info.name
        claim = self._claim = await claimed(front.residents, served)
        prepared = await self._prepared(served, claim.model)
        self.account.settle()
        self._telling = telling
        claim.answer(prepared, telling.hear)
        return await telling.heap()

    async def _prepared(self, served: Served, model: HostedModel) -> Prepared:
        """Cut the request into tokens; what is wrong with all of it is wrong with its prompt."""
        front, order = self.front, self.order
        try:
            return await front.in_thread(front.serving.prepare, served, model, order.request)
        except (ContextLengthExceeded, TemplateError) as exc:
            exc.param = exc.param or ("messages" if isinstance(order.request, ChatRequest) else "prompt")
            raise

    async def _whole(self, telling: Telling) -> None:
        heap = await self._begun(telling)
        while True:
            for index, told in heap:
                self._note(index, told)
            if self._is_over:
                break
            heap = await telling.heap()
        usage = self._counted()
        body = msgspec.json.encode(self.order.form.document(self._answers, usage))
        head = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": 200, "headers": list(head)})
        await self.send({"type": "http.response.body", "body": body})

    async def _streamed(self, telling: Telling) -> None:
        """Send what comes as it comes; the head goes out with the first of it, or after a silence."""
        form, stream = self.order.form, self._stream
        try:
            heap = await stream.waiting_for(self._begun(telling))
        except KnifeError as exc:
            if not stream.has_begun:
                raise
            await self._fail(b"", exc)
            return
        opening = events_bytes(form.opening(self.order.answers))
        while True:
            events, error = self._taken(heap)
            data = opening + events_bytes(events)
            if error is not None:
                await self._fail(data, error)
                return
            if self._is_over:
                break
            await stream.say(data)
            opening = b""
            heap = await telling.heap()
        usage = self._counted()
        if self.order.has_usage:
            data += event_bytes(form.tokens(usage))
        await stream.end(data)

    def _taken(self, heap: list[tuple[int, Told | KnifeError]]) -> tuple[list[msgspec.Struct], KnifeError | None]:
        """Return the events for what was told, up to an error if there is one."""
        events: list[msgspec.Struct] = []
        try:
            for index, told in joined(heap):
                events += self.order.form.events(index, self._note(index, told))
        except KnifeError as exc:
            return events, exc
        return events, None

    def _note(self, index: int, told: Told | KnifeError) -> Told:
        """Take what is told; raise it where it is an error."""
        if isinstance(told, KnifeError):
            raise told
        if told.ended is FinishReason.CANCELLED:
            msg = "The answer was cancelled"
            raise stopping() if self._is_stopped else Cancelled(msg)
        if not self._has_spoken:
            self._has_spoken = True
            self.front.metrics.first_token(self.visit.seconds)
        if self.order.is_stream:  # what is sent is not kept
            self._answers[index].note_end(told)
        else:
            self._answers[index].add(told)
        return told

    async def _fail(self, data: bytes, error: KnifeError) -> None:
        """End a stream that has begun with an event that says why. Raises the error where nothing has been sent yet."""
        if not self._stream.has_begun:
            raise error
        key = self.front.options.api_key
        failed = failure(error, self.visit.request_id, (key,) if key else ())
        self.visit.detail = failed.document.error.message
        logs.broken_off(self.visit)
        await self._stream.break_off(data, failed.document)

    @property
    def _is_over(self) -> bool:
        return all(answer.ended is not None for answer in self._answers)

    def _counted(self) -> Usage:
        """Add up and note: each prompt once, however many answers there are to it."""
        count = self.order.request.wanted.count
        usages = [answer.usage or Usage(0, 0) for answer in self._answers]
        total = Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages[::count]),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages[::count]),
        )
        self.front.metrics.answered(total)
        return total


def joined(heap: Sequence[tuple[int, Told | KnifeError]]) -> Sequence[tuple[int, Told | KnifeError]]:
    """Return what was told, with what came of the same answer as one; behind an error nothing counts."""
    if len(heap) < _SEVERAL:
        return heap
    told: dict[int, Told] = {}
    for index, one in heap:
        if isinstance(one, KnifeError):
            return [*told.items(), (index, one)]
        before = told.get(index)
        told[index] = one if before is None else _after(before, one)
    return list(told.items())


def _after(before: Told, then: Told) -> Told:
    pieces = list(before.pieces)
    for piece in then.pieces:
        if pieces and pieces[-1].kind is piece.kind:
            pieces[-1] = Piece(piece.kind, pieces[-1].text + piece.text)
        else:
            pieces.append(piece)
    return Told(tuple(pieces), before.likelihoods + then.likelihoods, then.ended, usage=then.usage)


class Cancelled(Refusal):
    """Somebody else ended the answer."""

    code, status, openai_code = "generation_cancelled", 503, "generation_cancelled"


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
