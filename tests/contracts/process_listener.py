"""Listens to a model process in a test, and collects the answers of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, GenerationEvent, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    Message,
    SamplingParameters,
)
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.processes import ModelProcess
from tests.parrot.answers import LONG

_MAX_WAIT = 120


@attrs.define
class Collected:
    """The events of one request."""

    accepted: Accepted | None = None
    deltas: list[Delta] = attrs.field(factory=list)
    error: KnifeError | None = None

    def add(self, event: GenerationEvent | KnifeError) -> None:
        assert self.error is None, "an error is the last event"
        if isinstance(event, KnifeError):
            self.error = event
        elif isinstance(event, Accepted):
            assert self.accepted is None
            assert not self.deltas
            self.accepted = event
        else:
            assert self.accepted is not None, "the first event is Accepted"
            assert self.reason(event.index) is None, "an answer ends once"
            self.deltas.append(event)

    def text(self, index: int = 0, kind: TextKind = TextKind.ANSWER) -> str:
        deltas = [delta for delta in self.deltas if delta.index == index]
        return "".join(text.text for delta in deltas for text in delta.texts if text.kind is kind)

    def reason(self, index: int = 0) -> FinishReason | None:
        return next(
            (delta.finish_reason for delta in self.deltas if delta.index == index and delta.finish_reason), None
        )

    def has_ended(self, answers: int = 1) -> bool:
        return self.error is not None or all(self.reason(index) for index in range(answers))


class Listener:
    """Listens to one process."""

    def __init__(self) -> None:
        self._states = asyncio.Queue[ModelLoaded | KnifeError]()
        self._event = asyncio.Event()
        self.requests: dict[int, Collected] = {}

    def on_state(self, state: ModelLoaded | KnifeError) -> None:
        self._states.put_nowait(state)

    @property
    def has_no_state(self) -> bool:
        return self._states.empty()

    async def state(self) -> ModelLoaded | KnifeError:
        async with asyncio.timeout(_MAX_WAIT):
            return await self._states.get()

    async def loaded(self) -> ModelLoaded:
        state = await self.state()
        assert isinstance(state, ModelLoaded), state
        return state

    async def error(self) -> KnifeError:
        state = await self.state()
        assert isinstance(state, KnifeError), state
        return state

    def submit(self, process: ModelProcess, request: GenerationRequest) -> tuple[int, Collected]:
        collected = Collected()

        def on_event(event: GenerationEvent | KnifeError) -> None:
            collected.add(event)
            self._event.set()

        return process.submit(request, on_event), collected

    async def until(self, is_enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(_MAX_WAIT):
            while not is_enough():
                self._event.clear()
                await self._event.wait()

    async def answers(self, process: ModelProcess, *requests: GenerationRequest) -> list[Collected]:
        """Submit requests, and return their events when all have ended."""
        collected = [self.submit(process, request)[1] for request in requests]
        pairs = list(zip(collected, requests, strict=True))
        await self.until(lambda: all(one.has_ended(request.answer_count) for one, request in pairs))
        return collected


async def gone(process: ModelProcess) -> None:
    """Wait until the process is reaped."""
    async with asyncio.timeout(_MAX_WAIT):
        while process.process_id is not None:  # noqa: ASYNC110 - a port has no event for it
            await asyncio.sleep(0.01)


def load_request(place: str, **more: object) -> LoadRequest:
    """Return a request to load the model at a place."""
    return LoadRequest(Location(place, (place,)), "fast", 2**26, **more)  # type: ignore[arg-type] # a test names fields


def asking(question: str, options: GenerationOptions | None = None) -> GenerationRequest:
    """Return a greedy request with one question."""
    options = options or GenerationOptions()
    if options.sampling.temperature is None:
        options = attrs.evolve(options, sampling=attrs.evolve(options.sampling, temperature=0.0))
    return GenerationRequest((Message("user", question),), options=options)


def endless(end_token: int = 1) -> GenerationRequest:
    """Return a request whose answer does not end for a long time."""
    sampling = SamplingParameters(temperature=1.0, seed=1, logit_bias=((end_token, -100.0),))
    return asking(LONG, GenerationOptions(sampling, max_tokens=20_000))
