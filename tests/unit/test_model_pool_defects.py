"""What a defect, or a model that crashes again and again, costs those that wait for models."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import InternalError, KnifeError, WorkerLost
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.serving.rules import PoolLimits
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.values import LoadingStarted, ModelCrashed, ModelNotLoaded, PoolEvent
from tests.fakes.manual_processes import ManualProcess, ManualProcesses
from tests.fakes.system import FakeSystem
from tests.unit.pool_models import UNIT, servable

Received = list[Lease | KnifeError]


@attrs.define(eq=False, slots=False)
class BrokenProcess(ManualProcess):
    """Raises for a certain model, which no ``ModelProcess`` may do."""

    broken: str = "broken"

    def load(self, request: LoadRequest) -> None:
        super().load(request)
        if request.location.token == self.broken:
            msg = "an unforeseen error"
            raise OSError(msg)


@attrs.define(slots=False)
class BrokenProcesses(ManualProcesses):
    """Processes that raise for a certain model; or ``start`` itself does, once."""

    fails_next: bool = False

    def start(
        self, on_state: Callable[[ModelLoaded | KnifeError], None], likely: EngineKind = EngineKind.TEXT
    ) -> ManualProcess:
        del likely
        if self.fails_next:
            self.fails_next = False
            msg = "an unforeseen error"
            raise OSError(msg)
        self.started.append(BrokenProcess(on_state))
        return self.started[-1]


@attrs.define
class BrokenSystem(FakeSystem):
    """A machine whose clock fails, once."""

    fails_next: bool = False

    def ticks(self) -> float:
        if self.fails_next:
            self.fails_next = False
            msg = "an unforeseen error"
            raise RuntimeError(msg)
        return super().ticks()


def _acquire(pool: ModelPool, name: str) -> Received:
    received: Received = []
    pool.acquire(servable(name), received.append)
    return received


def _lease(received: Received) -> Lease:
    (lease,) = received
    assert isinstance(lease, Lease)
    return lease


@pytest.mark.parametrize("fails_at", ["start", "load"])
def test_a_defect_of_starting_a_model_costs_only_the_request_for_it(fails_at: str) -> None:
    processes, events = BrokenProcesses(), list[PoolEvent]()
    pool = ModelPool(processes, FakeSystem(), PoolLimits(models=1), on_event=events.append)
    first = _acquire(pool, "small")
    processes.started[0].loaded()
    broken, other, again = (_acquire(pool, name) for name in ("broken", "other", "small"))
    processes.fails_next = fails_at == "start"
    _lease(first).release()
    assert [type(one) for one in broken] == [InternalError]
    assert "unforeseen" not in str(broken[0])  # that is for the log
    assert [type(event) for event in events[-3:]] == [LoadingStarted, ModelCrashed, LoadingStarted]
    assert [one.name for one in pool.loaded()] == ["other"]
    assert [process.place for process in processes.running] == ["other"]
    processes.running[0].loaded()
    _lease(other).release()
    processes.running[0].loaded()
    _lease(again).release()
    assert pool.pending == 0


def test_a_defect_before_a_model_is_started_is_an_event_and_costs_no_other_request() -> None:
    processes, system, events = ManualProcesses(), BrokenSystem(), list[PoolEvent]()
    pool = ModelPool(processes, system, PoolLimits(models=1), on_event=events.append)
    first = _acquire(pool, "small")
    processes.started[0].loaded()
    broken, other = _acquire(pool, "middle"), _acquire(pool, "other")
    lease = _lease(first)
    lease.loaded.leases.discard(lease)  # as if it had been released, and the clock had worked until then
    system.fails_next = True
    _acquire(pool, "large")
    assert [type(one) for one in broken] == [InternalError]
    (not_loaded,) = (event for event in events if isinstance(event, ModelNotLoaded))
    assert (not_loaded.name, not_loaded.error.__notes__) == ("middle", ["RuntimeError: an unforeseen error"])
    processes.started[1].loaded()
    assert _lease(other).loaded.name == "other"
    assert pool.pending == 1


def test_a_defect_of_the_event_listener_still_answers_the_request() -> None:
    def broken(event: PoolEvent) -> None:
        msg = f"cannot log {event.name}"
        raise RuntimeError(msg)

    pool = ModelPool(ManualProcesses(), FakeSystem(), on_event=broken)
    received: Received = []
    with pytest.raises(RuntimeError, match="cannot log"):
        pool.acquire(servable("small"), received.append)
    assert [type(one) for one in received] == [InternalError]
    assert (pool.loaded(), pool.pending) == ((), 0)


def test_a_request_that_is_withdrawn_while_the_queue_is_served_gets_no_lease() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem(), PoolLimits(memory_bytes=8 * UNIT, models=1))
    first = _acquire(pool, "small")
    processes.started[0].loaded()
    other, received = _acquire(pool, "other"), list[Lease | KnifeError]()
    withdraws = list[Callable[[], None]]()
    pool.acquire(servable("huge", 50), lambda _: withdraws.pop()())  # it does not fit
    withdraws.append(pool.acquire(servable("middle"), received.append))
    _lease(first).release()
    processes.started[1].loaded()
    _lease(other).release()
    assert (withdraws, received, pool.pending) == ([], [], 0)
    assert len(processes.started) == 2


@pytest.mark.parametrize(("crashes", "seconds"), [(2, 1.0), (4, 4.0), (20, 60.0)])
def test_a_model_that_crashes_again_and_again_is_paused_for_the_time_in_the_error(crashes: int, seconds: float) -> None:
    processes, system = ManualProcesses(), FakeSystem()
    pool = ModelPool(processes, system)
    for _ in range(crashes):
        _acquire(pool, "small")
        processes.running[0].crash(WorkerLost("gone"))
        system.time += seconds
    system.time -= seconds
    (refused,) = _acquire(pool, "small")
    assert isinstance(refused, WorkerLost)
    assert refused.retry_after == seconds
    assert not processes.running
    system.time += refused.retry_after
    assert _acquire(pool, "small") == []
    processes.running[0].loaded()
