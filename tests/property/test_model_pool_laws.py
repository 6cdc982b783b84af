"""Laws of the model pool: what is leased stays loaded, every client gets one reply, and memory is never exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mlxknife.domain.errors import KnifeError, ModelNotRunnable, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.serving import rules
from mlxknife.domain.serving.rules import PoolLimits
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.values import ModelState
from tests.fakes.manual_processes import ManualProcess, ManualProcesses
from tests.fakes.system import FakeSystem
from tests.property.pool_clients import PoolClient, Reaction, ReceivedEvents
from tests.property.pool_events import EventLog
from tests.unit.pool_models import UNIT, request, servable

Option = TypeVar("Option")

_SIZES = {"small": 1, "other": 1, "middle": 2, "large": 4, "huge": 50}
_LIMIT = int(8 * UNIT * 1.2)
_NAMES = st.sampled_from(sorted(_SIZES))
_REACTIONS = st.sampled_from(["none", "release", "submit", "acquire", "release another", "withdraw another"])


class ModelPoolMachine(RuleBasedStateMachine):
    """Clients come and go; processes load, answer and crash, in any order. Callbacks use the pool too."""

    @initialize(models=st.none() | st.integers(1, 3), idle=st.none() | st.just(10.0), ends_by_close=st.booleans())
    def begin(self, models: int | None, idle: float | None, ends_by_close: bool) -> None:  # noqa: FBT001 - drawn
        self.processes = ManualProcesses()
        self.system = FakeSystem()
        self.limits = PoolLimits(_LIMIT, models)
        self.idle = idle
        self.ends_by_close = ends_by_close
        self.is_closing = False
        self.events = EventLog(self.system)
        self.pool = ModelPool(self.processes, self.system, self.limits, idle, on_event=self.events.receive)
        self.clients: list[PoolClient] = []
        self.kept: set[str] = set()
        self.crashed: set[ManualProcess] = set()

    # --- clients

    @rule(name=_NAMES, kind=_REACTIONS, other=_NAMES)
    def acquire(self, name: str, kind: str, other: str) -> None:
        self._acquire(name, self._reaction(kind, other))

    def _acquire(self, name: str, reaction: Reaction | None = None) -> None:
        loaded = next((one for one in self.pool.loaded() if one.name == name), None)
        is_queued = loaded is None or loaded.is_draining
        client = PoolClient(name, is_queued, self._check_reason, reaction)
        self.clients.append(client)
        client.withdraw = self.pool.acquire(servable(name, _SIZES[name]), client.receive)

    def _check_reason(self, client: PoolClient, error: KnifeError) -> None:
        """Check that a client gets an error only for a reason."""
        if isinstance(error, ServerBusy):
            assert self.is_closing
        elif isinstance(error, NotEnoughMemory):
            assert client.name == "huge"
        elif error.retry_after is not None:
            assert isinstance(error, WorkerLost)
            assert self.events.is_paused(client.name)
        else:
            assert isinstance(error, ModelNotRunnable | WorkerLost)
            assert client.name in {process.place for process in self.crashed}

    def _reaction(self, kind: str, other: str) -> Reaction | None:
        """Return what a client does inside its callbacks."""

        def react(client: PoolClient) -> None:
            others = [one for one in self.clients if one is not client]
            if kind == "release" and client.lease:
                client.release()
            elif kind == "submit" and client.lease and len(client.requests) < 3:
                client.submit(request())
            elif kind == "acquire" and len(self.clients) < 50:
                self._acquire(other)
            elif kind == "release another" and (holding := [one for one in others if one.lease]):
                holding[-1].release()
            elif kind == "withdraw another" and (waiting := [one for one in others if one.is_waiting]):
                waiting[-1].give_up()

        return None if kind == "none" else react

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        _chosen(data, self.clients).give_up()

    def _holding(self) -> list[PoolClient]:
        return [client for client in self.clients if client.lease]

    @precondition(lambda self: self._holding())
    @rule(data=st.data(), answers=st.integers(1, 3))
    def submit(self, data: st.DataObject, answers: int) -> None:
        client = _chosen(data, self._holding())
        client.submit(request(answers))
        if client.process in self.crashed:
            assert isinstance(client.requests[-1].error, WorkerLost)

    @precondition(lambda self: self._holding())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _chosen(data, self._holding()).cancel()

    @precondition(lambda self: self._holding())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        _chosen(data, self._holding()).release()

    @rule(name=_NAMES)
    def keep(self, name: str) -> None:
        self.kept.add(name)
        self.pool.keep(servable(name, _SIZES[name]))
        assert self.pool.keeps_models

    # --- processes

    def _loading(self) -> list[ManualProcess]:
        return [process for process in self.processes.running if not process.has_loaded]

    @precondition(lambda self: self._loading())
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        _chosen(data, self._loading()).loaded()

    def _answering(self) -> list[ManualProcess]:
        return [process for process in self.processes.running if process.requests]

    @precondition(lambda self: self._answering())
    @rule(data=st.data(), kind=st.sampled_from(["text", "end", "error"]))
    def answer(self, data: st.DataObject, kind: str) -> None:
        process = _chosen(data, self._answering())
        request_id = data.draw(st.sampled_from(sorted(process.requests)))
        received = self._received(process.requests[request_id])
        if not received.is_accepted:
            process.accept(request_id)
        index = data.draw(st.sampled_from(sorted(set(range(received.answers)) - received.ended)))
        if kind == "text":
            process.text(request_id, "a", index)
        elif kind == "error":
            process.requests.pop(request_id)
            process.send(request_id, ModelNotRunnable("the model produced NaN logits"))
        else:
            if len(received.ended) == received.answers - 1:
                process.requests.pop(request_id)
                self.events.answered(process.place)
            process.finish(request_id, index)

    def _received(self, sent: GenerationRequest) -> ReceivedEvents:
        return next(one for client in self.clients for one in client.requests if one.request is sent)

    @precondition(lambda self: self.processes.running)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 100.0]))
    def crash(self, data: st.DataObject, seconds: float) -> None:
        process = _chosen(data, self.processes.running)
        self.crashed.add(process)
        process.crash(WorkerLost("killed") if process.has_loaded else ModelNotRunnable("not loaded"))
        self.system.time += seconds

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def tick(self, seconds: float) -> None:
        self.system.time += seconds
        self.pool.tick()
        oldest = self.system.ticks() - (self.idle or float("inf"))
        for one in self.pool.loaded():
            is_idle = not one.is_leased and one.state is ModelState.READY and one.last_used < oldest
            assert not is_idle or one.name in self.kept, "an idle model is unloaded"
        self.pool.tick()  # what was unloaded may leave memory for a kept model
        if not self.pool.pending:
            missing = self.kept - {one.name for one in self.pool.loaded()}
            assert not any(map(self._fits, missing)), "a kept model is loaded when it fits"

    def _fits(self, name: str) -> bool:
        loaded = self.pool.loaded()
        has_place = self.limits.models is None or len(loaded) < self.limits.models
        return (
            not self.events.is_paused(name)
            and has_place
            and sum(one.bytes for one in loaded) + self._size(name) <= _LIMIT
        )

    @staticmethod
    def _size(name: str) -> int:
        return memory.taken(servable(name, _SIZES[name]).need, _LIMIT, None, has_gpu=False)

    # --- laws

    @invariant()
    def the_limits_are_kept(self) -> None:
        loaded = self.pool.loaded()
        assert sum(one.bytes for one in loaded) <= _LIMIT
        assert self.limits.models is None or len(loaded) <= self.limits.models

    @invariant()
    def the_events_describe_the_loaded_models(self) -> None:
        assert self.events.states == {one.name: one.state.value for one in self.pool.loaded()}

    @invariant()
    def every_process_belongs_to_a_loaded_model(self) -> None:
        assert {id(one.process) for one in self.pool.loaded()} == {id(process) for process in self.processes.running}

    @invariant()
    def a_leased_model_is_ended_only_by_its_own_crash(self) -> None:
        for client in self._holding():
            assert client.process in self.crashed or client.process in self.processes.running

    @invariant()
    def every_lease_has_its_holder(self) -> None:
        held = {client.lease for client in self._holding() if client.process not in self.crashed}
        assert {lease for one in self.pool.loaded() for lease in one.leases} == held

    @invariant()
    def every_running_request_is_counted(self) -> None:
        running = [one for client in self.clients for one in client.requests if not one.is_over]
        assert sum(one.running for one in self.pool.loaded()) == len(running)
        assert sum(len(process.requests) for process in self.processes.running) == len(running)

    @invariant()
    def no_client_overtakes_an_earlier_one_in_the_queue(self) -> None:
        queue = [client for client in self.clients if client.is_queued and not client.is_withdrawn]
        is_in_queue = [client in self._queue() for client in queue]
        assert is_in_queue == sorted(is_in_queue)

    def _queue(self) -> list[PoolClient]:
        """Return the clients that wait for memory."""
        loading = [pending.on_lease for one in self.pool.loaded() for pending in one.pending]
        return [client for client in self.clients if client.is_waiting and client.receive not in loading]

    @invariant()
    def the_first_client_in_the_queue_waits_for_a_lease_to_end(self) -> None:
        queue, loaded = self._queue(), self.pool.loaded()
        length = self.pool.pending - sum(len(one.pending) for one in loaded)
        assert length or not any(one.is_draining for one in loaded)
        if queue and len(queue) == length:  # no kept model is in the queue, whose place in it is not known
            (draining,) = [one.is_draining for one in loaded if one.name == queue[0].name] or [True]
            eviction = rules.eviction_for(queue[0].name, self._size(queue[0].name), self._entries(), self.limits)
            assert draining
            assert not eviction.is_immediate
            assert {one.model.key for one in loaded if one.is_draining} == set(eviction.awaited)

    def _entries(self) -> list[rules.PoolEntry]:
        return [
            rules.PoolEntry(one.model.key, one.bytes, one.is_leased, one.last_used, one.name in self.kept)
            for one in self.pool.loaded()
        ]

    @invariant()
    def a_waiting_client_waits_for_a_load_or_for_a_lease_to_end(self) -> None:
        if any(client.is_waiting for client in self.clients):
            assert any(one.is_leased for one in self.pool.loaded())

    def teardown(self) -> None:
        """Check that in the end every client has its reply."""
        if not hasattr(self, "pool"):
            return
        waiting = [client for client in self.clients if client.is_waiting]
        running = [one for client in self.clients for one in client.requests if not one.is_over]
        if not self.ends_by_close:
            self._drain()
        self.is_closing = True
        self.pool.close()
        self.pool.tick()
        assert not self.processes.running
        assert not self.events.states
        assert not any(client.is_waiting for client in self.clients)
        assert all(one.is_over for client in self.clients for one in client.requests)
        if self.ends_by_close:
            assert all(client.is_withdrawn or isinstance(client.error, ServerBusy) for client in waiting)
            assert all(one.is_cancelled or isinstance(one.error, ServerBusy) for one in running)
        assert self.pool.pending == 0

    def _drain(self) -> None:
        """Release every lease and load every model until no client waits."""
        for client in self.clients:
            client.reaction = None
        for _ in range(2 * (self.pool.pending + len(self.clients)) + 2):
            for client in self._holding():
                client.release()
            for process in self._loading():
                process.loaded()
        assert not any(client.is_waiting for client in self.clients)
        assert self.pool.pending == 0


def _chosen(data: st.DataObject, options: Sequence[Option]) -> Option:
    """Draw one of several objects by its index: their descriptions are long."""
    return options[data.draw(st.integers(0, len(options) - 1))]


TestModelPool = ModelPoolMachine.TestCase
