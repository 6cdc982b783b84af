"""Running requests on an engine of this process, and collecting their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

import attrs

from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextKind
from mlxknife.domain.generation.values.request import GenerationRequest


@attrs.define
class RequestOutput:
    """The events of one request. It checks that none comes after the end."""

    accepted: Accepted
    answer_count: int
    deltas: list[Delta] = attrs.field(factory=list)
    error: KnifeError | None = None
    is_cancelled: bool = False

    def add(self, event: Delta | KnifeError) -> None:
        assert not self.has_ended
        assert not self.is_cancelled
        if isinstance(event, KnifeError):
            self.error = event
            return
        assert 0 <= event.index < self.answer_count
        assert self.finish_reason(event.index) is None
        assert event.usage is not None
        self.deltas.append(event)

    @property
    def has_ended(self) -> bool:
        return self.error is not None or all(self.finish_reason(index) for index in range(self.answer_count))

    def answer(self, index: int = 0) -> Delta:
        """Return everything of one answer as one delta."""
        joined = Delta(index)
        for delta in self.deltas:
            if delta.index == index:
                joined = joined.followed_by(delta)
        return joined

    def finish_reason(self, index: int = 0) -> FinishReason | None:
        return next(
            (delta.finish_reason for delta in self.deltas if delta.index == index and delta.finish_reason), None
        )

    def text(self, index: int = 0, kind: TextKind = TextKind.ANSWER) -> str:
        return "".join(text.text for text in self.answer(index).texts if text.kind is kind)


def submitted(engine: TextEngine, request_id: int, request: GenerationRequest) -> RequestOutput:
    """Render, tokenize and submit a request."""
    prepared = engine.tokenize(request, engine.render(request))
    return RequestOutput(engine.submit(request_id, prepared), request.answer_count)


def step(engine: TextEngine, outputs: Mapping[int, RequestOutput]) -> None:
    """Run one step, and add its events to the outputs of their requests."""
    for request_id, event in engine.step():
        outputs[request_id].add(event)


def answered(engine: TextEngine, request: GenerationRequest) -> RequestOutput:
    """Run a request alone until it has ended."""
    output = submitted(engine, 1, request)
    while not engine.is_idle:
        step(engine, {1: output})
    assert output.has_ended
    return output


def numbered_call_ids() -> Callable[[], str]:
    """Return what makes the ids of tool calls: ``call_0``, ``call_1``, and so on."""
    numbers = count()
    return lambda: f"call_{next(numbers)}"
