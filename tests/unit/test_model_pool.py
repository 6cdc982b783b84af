"""The model pool in examples; its laws are in ``tests/property/test_model_pool_laws.py``."""

from __future__ import annotations

from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError, ModelNotRunnable, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.answer import Delta, GenerationEvent
from mlxknife.domain.serving.rules import PoolLimits
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.values import LoadingStarted, ModelNotLoaded, PoolEvent
from tests.fakes.manual_processes import ManualProcesses
from tests.fakes.system import FakeSystem
from tests.unit.pool_models import UNIT, request, servable

Received = list[Lease | KnifeError]
Events = list[GenerationEvent | KnifeError]


def _acquire(pool: ModelPool, name: str) -> Received:
    received: Received = []
    pool.acquire(servable(name), received.append)
    return received


def _lease(received: Received) -> Lease:
    (lease,) = received
    assert isinstance(lease, Lease)
    return lease


def _submit(lease: Lease, answers: int = 1) -> Events:
    events: Events = []
    lease.submit(request(answers), events.append)
    return events


def test_a_kept_model_that_does_not_fit_is_an_event() -> None:
    events: list[PoolEvent] = []
    pool = ModelPool(ManualProcesses(), FakeSystem(), PoolLimits(UNIT), on_event=events.append)
    pool.keep(servable("huge", 50))
    pool.acquire(servable("huge", 50), lambda _: None)
    (event,) = events
    assert isinstance(event, ModelNotLoaded)
    assert (event.name, type(event.error)) == ("huge", NotEnoughMemory)


def test_a_model_is_not_lost_when_another_lease_ends_as_it_is_loaded() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem(), PoolLimits(models=1))
    pool.keep(servable("small"))
    first, second = _acquire(pool, "small"), _acquire(pool, "other")
    processes.started[0].loaded()
    lease = _lease(first)
    assert not processes.started[0].is_closed
    events = _submit(lease)
    processes.started[0].accept(1)
    processes.started[0].finish(1)
    assert [type(event) for event in events] == [Accepted, Delta]
    lease.release()
    processes.started[1].loaded()
    assert _lease(second)


def test_a_kept_model_is_loaded_again_when_it_fits() -> None:
    processes, system = ManualProcesses(), FakeSystem()
    pool = ModelPool(processes, system, PoolLimits(models=1), idle_seconds=10.0)
    pool.keep(servable("small"))
    assert pool.keeps_models
    processes.started[0].loaded()
    system.time += 100
    pool.tick()
    assert not processes.started[0].is_closed  # however long no request comes
    processes.started[0].crash(WorkerLost("gone"))
    pool.tick()
    assert [process.place for process in processes.running] == ["small"]
    processes.started[1].loaded()
    received = _acquire(pool, "other")
    assert [process.place for process in processes.running] == ["other"]  # nothing else could be evicted
    processes.started[2].loaded()
    pool.tick()
    assert [process.place for process in processes.running] == ["other"]
    _lease(received).release()
    system.time += 100
    pool.tick()
    pool.tick()
    assert [process.place for process in processes.running] == ["small"]


def test_a_closed_pool_grants_no_lease() -> None:
    pool = ModelPool(ManualProcesses(), FakeSystem())
    pool.close()
    assert [type(one) for one in _acquire(pool, "small")] == [ServerBusy]


def test_a_crash_fails_every_running_request_once_and_every_later_one() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    received = [_acquire(pool, "small") for _ in range(2)]
    (process,) = processes.started
    process.loaded()
    leases = [_lease(one) for one in received]
    events = [_submit(lease, answers=2) for lease in leases]
    process.accept(1)
    process.text(1, "a")
    process.crash(WorkerLost("gone"))
    assert [type(event) for event in events[0]] == [Accepted, Delta, WorkerLost]
    assert [type(event) for event in events[1]] == [WorkerLost]
    assert [type(event) for event in _submit(leases[0])] == [WorkerLost]


def test_a_lease_that_is_withdrawn_while_its_model_becomes_ready_is_given_back() -> None:
    """The first client withdraws the second one inside its own callback."""
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    second: Received = []
    pool.acquire(servable("small"), lambda _: withdraw())
    withdraw = pool.acquire(servable("small"), second.append)
    processes.started[0].loaded()
    assert second == []
    assert [len(one.leases) for one in pool.loaded()] == [1]


def test_a_request_that_is_released_inside_the_callback_of_another_gets_no_event() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    first, second = _acquire(pool, "small"), _acquire(pool, "small")
    processes.started[0].loaded()
    _lease(first).submit(request(), lambda _: _lease(second).release())
    events = _submit(_lease(second))
    processes.started[0].crash(WorkerLost("gone"))
    assert events == []


def test_a_request_that_is_submitted_inside_the_callback_of_a_crash_fails_too() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    lease, events = _acquire(pool, "small"), Events()
    processes.started[0].loaded()
    _lease(lease).submit(request(), lambda _: _lease(lease).submit(request(), events.append))
    processes.started[0].crash(WorkerLost("gone"))
    assert [type(event) for event in events] == [WorkerLost]


def test_a_client_that_is_withdrawn_while_the_pool_closes_gets_no_reply() -> None:
    pool = ModelPool(ManualProcesses(), FakeSystem(), PoolLimits(models=1))
    _acquire(pool, "small")
    second: Received = []
    pool.acquire(servable("other"), lambda _: withdraw())
    withdraw = pool.acquire(servable("other"), second.append)
    pool.close()
    assert second == []


def test_a_complete_answer_ends_the_row_of_crashes() -> None:
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    for is_answered in (False, True, False):
        received = _acquire(pool, "small")
        processes.running[0].loaded()
        _submit(_lease(received), answers=2)
        processes.running[0].accept(1)
        processes.running[0].finish(1, 0)
        if is_answered:
            processes.running[0].finish(1, 1)
        processes.running[0].crash(WorkerLost("gone"))
    assert [type(one) for one in _acquire(pool, "small")] == [WorkerLost]  # the crashes since the answer count
    assert len(processes.started) == 3


def test_a_model_that_cannot_be_loaded_is_refused_until_it_is_tried_again() -> None:
    processes, system, events = ManualProcesses(), FakeSystem(), list[PoolEvent]()
    pool = ModelPool(processes, system, on_event=events.append)
    received = Received()
    for _ in range(2):
        pool.acquire(servable("broken"), received.append)
        processes.running[0].crash(ModelNotRunnable("Its files lack 'a'"))
    assert [type(event) for event in events] == [LoadingStarted, ModelNotLoaded] * 2
    assert pool.back_off.unloadable == {("broken", servable("broken").key)}
    pool.acquire(servable("broken"), received.append)
    assert [str(error) for error in received] == ["Its files lack 'a'"] * 3
    assert all(type(error) is ModelNotRunnable for error in received)
    assert processes.running == []
    system.time += 100
    pool.acquire(servable("broken"), received.append)
    processes.running[0].loaded()
    assert pool.back_off.unloadable == frozenset()
