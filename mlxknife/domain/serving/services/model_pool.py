"""The model pool: which models are loaded, who holds a lease on them, and what happens after a crash.

It knows nothing of what a model computes. Every method runs in one thread and returns at once; what takes time calls
back later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import InternalError, KnifeError, ModelNotRunnable, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.loading import ModelLoaded
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving import rules
from mlxknife.domain.serving.rules import Eviction, PoolEntry, PoolLimits
from mlxknife.domain.serving.services.back_off import BackOff
from mlxknife.domain.serving.services.loaded_model import Lease, LoadedModel, PendingLease
from mlxknife.domain.serving.services.servable_models import ServableModel
from mlxknife.domain.serving.values import (
    LoadingStarted,
    ModelCrashed,
    ModelNotLoaded,
    ModelReady,
    ModelState,
    ModelUnloaded,
    PoolEvent,
)
from mlxknife.ports.engines.processes import ModelProcesses
from mlxknife.ports.system.system import System


@attrs.define(eq=False)
class ModelPool:
    """Loads models on demand, and unloads them when memory runs short or they are idle."""

    processes: ModelProcesses
    system: System
    limits: PoolLimits = attrs.field(factory=PoolLimits)
    idle_seconds: float | None = None
    """The idle time after which a model is unloaded."""
    profile: str | None = None
    """The CPU profile; by default the memory decides."""
    has_gpu: bool = False
    on_event: Callable[[PoolEvent], None] | None = None
    """Called with every event."""
    _loaded: dict[str, LoadedModel] = attrs.field(factory=dict)
    _queue: list[PendingLease] = attrs.field(factory=list)
    """The leases that wait for memory, in order."""
    _kept: dict[str, ServableModel] = attrs.field(factory=dict)
    """The models to load whenever they fit."""
    _is_closed: bool = False
    back_off: BackOff = attrs.field(init=False)

    __repr__ = reprs.name

    def __attrs_post_init__(self) -> None:
        """Begin without crashes."""
        self.back_off = BackOff(self.system)

    def acquire(self, model: ServableModel, on_lease: Callable[[Lease | KnifeError], None]) -> Callable[[], None]:
        """Ask for a lease on a model, and return what withdraws the request.

        ``on_lease`` is called once, now or later: with a lease, which must be released, or with an error.
        NotEnoughMemory: the model does not fit; WorkerLost: it crashed too often; ServerBusy: the pool is closing;
        ModelNotRunnable: its process could not load it.
        """
        pending = PendingLease(model, on_lease)
        self._replace(model)
        loaded = self._loaded.get(model.key)
        if loaded is None or loaded.is_draining:
            self._queue.append(pending)
            self._serve_queue()
        else:
            self._admit(loaded, pending)
        return partial(self._withdraw, pending)

    def keep(self, model: ServableModel) -> None:
        """Load a model now and whenever it is gone and fits; it is evicted last."""
        self._kept[model.key] = model
        self.acquire(model, partial(self._release_kept, model))

    @property
    def keeps_models(self) -> bool:
        """Whether there are models to keep loaded."""
        return bool(self._kept)

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Return the models that are loaded or being loaded."""
        return tuple(self._loaded.values())

    @property
    def pending(self) -> int:
        """The number of leases that wait."""
        return len(self._queue) + sum(len(loaded.pending) for loaded in self._loaded.values())

    def tick(self) -> None:
        """Unload idle models and load the kept ones that fit. Call it about every second."""
        for model in tuple(self._kept.values()):
            self._replace(model)
            if model.key not in self._loaded and not self._queue and self._fits(model):
                self.keep(model)
        if self.idle_seconds is None:
            return
        oldest = self.system.ticks() - self.idle_seconds
        for loaded in self.loaded():
            is_kept = loaded.model.key in self._kept
            is_idle = not loaded.is_leased and not is_kept and loaded.state is ModelState.READY
            if is_idle and loaded.last_used < oldest:
                self._unload(loaded)

    def close(self) -> None:
        """End all processes; pending leases and running requests get ServerBusy."""
        self._is_closed = True
        while self._queue:
            self._queue.pop(0).reply(_closing())
        for loaded in self.loaded():
            del self._loaded[loaded.model.key]
            loaded.fail(_closing())
            self._emit(ModelUnloaded(loaded.name))

    def _release_kept(self, model: ServableModel, lease: Lease | KnifeError) -> None:
        if isinstance(lease, Lease):
            lease.release()
        elif isinstance(lease, NotEnoughMemory):  # no process was started whose end would be an event
            self._emit(ModelNotLoaded(model.name, lease))

    def _released(self, lease: Lease) -> None:
        loaded = lease.loaded
        if lease in loaded.leases:
            loaded.leases.discard(lease)
            loaded.note_use(self.system.ticks())
            self._serve_queue()

    def _replace(self, model: ServableModel) -> None:
        """Drop what was in the same place before with other content: no request will ask for it again."""
        for before in [one for one in self._kept.values() if one.is_replaced_by(model)]:
            del self._kept[before.key]
            self._kept[model.key] = model
        for loaded in self.loaded():
            if loaded.model.is_replaced_by(model) and not loaded.is_leased:
                self._unload(loaded)

    # --- the queue for memory

    def _withdraw(self, pending: PendingLease) -> None:
        pending.is_withdrawn = True
        if pending in self._queue:
            self._queue.remove(pending)
        loaded = self._loaded.get(pending.model.key)
        if loaded is not None and pending in loaded.pending:
            loaded.pending.remove(pending)
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Grant leases in order as far as there is memory; none overtakes an earlier one.

        A callback may acquire, release or close before this goes on: only the first entry is ever taken out.
        """
        for loaded in self._loaded.values():
            loaded.is_draining = False
        while self._queue:
            pending = self._queue.pop(0)
            if not self._is_served(pending):
                self._queue.insert(0, pending)
                return

    def _is_served(self, pending: PendingLease) -> bool:
        """Whether a lease is granted, waits for its model to load, or got an error."""
        if self._is_closed:
            pending.reply(_closing())
            return True
        loaded = self._loaded.get(pending.model.key)
        if loaded is None:
            try:
                loaded = self._start(pending.model)
            except (ModelNotRunnable, NotEnoughMemory, WorkerLost) as exc:
                pending.reply(exc)
                return True
            except Exception as exc:  # noqa: BLE001 - a defect costs this request, and none behind it
                error = _start_error(pending.model, exc)
                try:
                    self._undo_start(pending.model, error)
                finally:  # the request gets its error even if this fails too
                    pending.reply(error)
                return True
            if loaded is None:
                return False
        self._admit(loaded, pending)
        return True

    def _start(self, model: ServableModel) -> LoadedModel | None:
        """Start to load a model; None if the lease of another one must end first."""
        self.back_off.check(model)
        profile, size = self._size(model)
        eviction = rules.eviction_for(model.name, size, self._entries(), self.limits)
        if not eviction.is_immediate:
            for key in eviction.awaited:
                self._loaded[key].is_draining = True
            return None
        for key in eviction.evicted:
            self._unload(self._loaded[key])
        loaded = LoadedModel(model, size, self.system.ticks(), self.back_off.answered)
        self._loaded[model.key] = loaded
        self._emit(LoadingStarted(loaded.name, model.runnable.remote_code))
        loaded.process = self.processes.start(partial(self._on_state, loaded), model.kind)
        loaded.process.load(model.load_request(profile, self.system.memory_available_bytes()))
        return loaded

    def _undo_start(self, model: ServableModel, error: InternalError) -> None:
        """Forget what was started of a model when something unforeseen failed."""
        loaded = self._loaded.pop(model.key, None)
        if loaded is None:
            self._emit(ModelNotLoaded(model.name, error))
        else:
            loaded.unload()
            self.back_off.crashed(model, error)
            self._emit(ModelCrashed(loaded.name, error))

    def _fits(self, model: ServableModel) -> bool:
        """Whether a model could be loaded now without evicting another one."""
        if self._is_closed or self.back_off.is_paused(model):
            return False
        try:
            eviction = rules.eviction_for(model.name, self._size(model)[1], self._entries(), self.limits)
        except NotEnoughMemory:
            return False
        return eviction == Eviction()

    def _entries(self) -> list[PoolEntry]:
        return [
            PoolEntry(key, one.bytes, one.is_leased, one.last_used, key in self._kept)
            for key, one in self._loaded.items()
        ]

    def _size(self, model: ServableModel) -> tuple[str, int]:
        """Return the CPU profile that fits best, and the memory that the model takes with it."""
        return model.size(self.limits.memory_bytes, self.profile, has_gpu=self.has_gpu)

    def _admit(self, loaded: LoadedModel, pending: PendingLease) -> None:
        if loaded.state is ModelState.READY:
            pending.reply(self._leased(loaded))
        else:
            loaded.pending.append(pending)

    def _leased(self, loaded: LoadedModel) -> Lease:
        lease = Lease(loaded, self._released)
        loaded.leases.add(lease)
        loaded.note_use(self.system.ticks())
        return lease

    def _unload(self, loaded: LoadedModel) -> None:
        del self._loaded[loaded.model.key]
        loaded.unload()
        self._emit(ModelUnloaded(loaded.name))

    def _emit(self, event: PoolEvent) -> None:
        if self.on_event is not None:
            self.on_event(event)

    # --- model processes

    def _on_state(self, loaded: LoadedModel, state: ModelLoaded | KnifeError) -> None:
        if self._loaded.get(loaded.model.key) is not loaded:
            return
        if isinstance(state, ModelLoaded):
            loaded.load_seconds = state.seconds
            loaded.state = ModelState.READY
            loaded.note_use(self.system.ticks())
            self.back_off.loaded(loaded.model)
            self._emit(ModelReady(loaded.name, state.seconds))
            waiting, loaded.pending = loaded.pending, []
            held = [(pending, self._leased(loaded)) for pending in waiting]  # all, before one of them can be released
            for pending, lease in held:
                pending.reply(lease)
        else:
            self.back_off.crashed(loaded.model, state)
            del self._loaded[loaded.model.key]
            is_refused = isinstance(state, ModelNotRunnable)
            self._emit(ModelNotLoaded(loaded.name, state) if is_refused else ModelCrashed(loaded.name, state))
            loaded.fail(state)
            self._serve_queue()


def _start_error(model: ServableModel, exc: Exception) -> InternalError:
    """Return the error for a client; what failed is in a note, for the log."""
    error = InternalError(f"'{model.name}' could not be started", hint=HintCode.SERVER_LOG)
    error.add_note(f"{type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _closing() -> ServerBusy:
    return ServerBusy("The server is stopping", retry_after=1.0)
