"""Blocking clients of models that run in the thread of the caller: a test writes the deltas of every answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import cycle, islice
from typing import TypeAlias, TypeVar, cast

import attrs

from mlxknife.domain.engines.values import Accepted, Event, Request
from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.generation.rules import options
from mlxknife.domain.generation.values.answer import (
    Delta,
    FinishReason,
    GenerationEvent,
    TextDelta,
    TextKind,
    Usage,
)
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.generation.values.request import GenerationRequest
from tests.fakes.system import FakeSystem
from tests.parrot.answers import ANSWERS

EventT = TypeVar("EventT", bound=Event)
Script: TypeAlias = Callable[[GenerationRequest], Iterator[Delta]]
"""Returns the deltas of one answer to a request; the last one has a finish reason, or the iterator raises an error."""

_ENDLESS = 30_000
HELLO = ("Hello", ", ", "world", "!")


def says(*texts: str | TextDelta, error: BaseException | None = None) -> Script:
    """Return a script that gives the same answer to every request, cut at its ``max_tokens``.

    Each text is a token. After the last one the answer ends, or ``error`` is raised.
    """

    def script(request: GenerationRequest) -> Iterator[Delta]:
        prompt = sum(len(message.content.split()) for message in request.messages)
        limit = min(len(texts), request.options.max_tokens or len(texts))
        for count, text in enumerate(texts[:limit], 1):
            delta = text if isinstance(text, TextDelta) else TextDelta(TextKind.ANSWER, text)
            is_cut = count == limit < len(texts)
            reason = FinishReason.LENGTH if is_cut else None
            yield Delta(texts=(delta,), finish_reason=reason, usage=Usage(prompt, count))
        if error is not None:
            raise error
        if limit == len(texts):
            yield Delta(finish_reason=FinishReason.STOP, usage=Usage(prompt, limit))

    return script


_SAYS_HELLO = says(*HELLO)


def recites(request: GenerationRequest) -> Iterator[Delta]:
    """Answer as the parrot does, one character in each delta."""
    answer = ANSWERS[request.messages[-1].content]
    is_endless = bool(request.options.sampling.logit_bias)
    return says(*(islice(cycle(answer), _ENDLESS) if is_endless else answer))(request)


@attrs.define(eq=False)
class FakeClient:
    """See ``ModelClient``."""

    script: Script
    errors: Mapping[str, KnifeError] = attrs.field(factory=dict)
    """The errors of loading, by the token of the location."""
    notes: tuple[str, ...] = ()
    clock: FakeSystem | None = None
    """Moved by ``load_seconds`` while a model is loaded, and by ``step_seconds`` for each delta."""
    load_seconds: float = 0.0
    step_seconds: float = 0.0
    load_requests: list[LoadRequest] = attrs.field(factory=list)
    requests: list[GenerationRequest] = attrs.field(factory=list)
    sent: int = 0
    """The number of deltas so far."""
    cancelled: int = 0
    """The number of requests that ended before their answers."""
    is_closed: bool = False
    _error: KnifeError | None = None
    _runs: threading.Event = attrs.field(factory=threading.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._runs.set()

    def load(self, request: LoadRequest) -> ModelLoaded:
        self.load_requests.append(request)
        self._error = self._error or self.errors.get(request.location.token)
        self._check()
        self._pass(self.load_seconds)
        return ModelLoaded(self.load_seconds, self.notes)

    def submit(self, request: Request[EventT]) -> Generator[EventT]:
        assert isinstance(request, GenerationRequest)
        return cast("Generator[EventT]", self._events(request))

    def _events(self, request: GenerationRequest) -> Generator[GenerationEvent]:
        self._check()
        options.check(request.options)
        self.requests.append(request)
        left = request.answer_count
        try:
            yield Accepted(1)
            for index in range(request.answer_count):
                for delta in self.script(request):
                    self._runs.wait()
                    self._pass(self.step_seconds)
                    self._check()
                    self.sent += 1
                    left -= delta.finish_reason is not None
                    yield attrs.evolve(delta, index=index)
        except KnifeError:
            left = 0
            raise
        finally:
            self.cancelled += left > 0

    def pause(self) -> None:
        self._runs.clear()

    def resume(self) -> None:
        self._runs.set()

    def close(self) -> None:
        self.is_closed = True
        self._error = self._error or EngineError("The model is closed")
        self._runs.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _pass(self, seconds: float) -> None:
        if self.clock is None:
            time.sleep(seconds)
        else:
            self.clock.time += seconds


@attrs.define
class FakeClients:
    """See ``ModelClients``; every model gives the same answers."""

    script: Script = _SAYS_HELLO
    errors: Mapping[str, KnifeError] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()
    clock: FakeSystem | None = None
    load_seconds: float = 0.0
    step_seconds: float = 0.0
    started: list[FakeClient] = attrs.field(factory=list)

    @property
    def client(self) -> FakeClient:
        """The only client so far."""
        (client,) = self.started
        return client

    @property
    def load_requests(self) -> list[LoadRequest]:
        """What was loaded, by every client."""
        return [request for client in self.started for request in client.load_requests]

    def start(self) -> FakeClient:
        self.started.append(
            FakeClient(self.script, self.errors, self.notes, self.clock, self.load_seconds, self.step_seconds)
        )
        return self.started[-1]
