"""Preparation: requests are rendered and tokenized in threads, as long as they are not cancelled."""

from __future__ import annotations

import threading

import attrs

from mlxknife.adapters.worker.child.heartbeat import Deadline
from mlxknife.adapters.worker.child.loop import Preparation
from mlxknife.adapters.worker.protocol import Generate
from mlxknife.domain.generation.values.request import GenerationRequest
from tests.fakes.serving import FakeEngine

_THREADS = 4
_TIMEOUT = 20.0


@attrs.define
class BlockedEngine(FakeEngine):
    """An engine that renders nothing until it is released."""

    released: threading.Event = attrs.field(factory=threading.Event)

    def render(self, request: GenerationRequest) -> GenerationRequest:
        assert self.released.wait(_TIMEOUT)
        return request


def test_a_request_that_is_cancelled_while_it_waits_for_a_thread_is_not_prepared() -> None:
    engine, uncancelled, wake = BlockedEngine(), set(range(7)), threading.Semaphore(0)
    preparation = Preparation(engine, Deadline("It", _TIMEOUT), wake.release, uncancelled)
    for number in range(7):
        preparation.start(Generate.of(number, GenerationRequest(prompts=("x",))))
    uncancelled.remove(_THREADS)
    engine.released.set()
    finished = set[int]()
    for _ in range(6):
        assert wake.acquire(timeout=_TIMEOUT)
        finished.update(request_id for request_id, _ in preparation.finished())
    assert finished == uncancelled
