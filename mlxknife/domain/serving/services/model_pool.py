"""Residents: the models that are loaded, who uses them, and what happens when one falls.

Everything here is called in one thread and blocks nowhere; what takes time is told later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from mlxknife.domain.errors import InternalError, KnifeError, NotEnoughMemory, ServerBusy, WorkerLost
from mlxknife.domain.generation.values.rows import BatchStep
from mlxknife.domain.hints import HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.serving.rules import eviction
from mlxknife.domain.serving.rules.eviction import Limits, Occupant, Room
from mlxknife.domain.serving.services.back_off import FallBook
from mlxknife.domain.serving.services.loaded_model import Asked, Claim, Resident, State
from mlxknife.domain.serving.services.servable_models import Served
from mlxknife.domain.serving.values.processes import (
    Began,
    Fallen,
    Fell,
    HostEvent,
    LeftOut,
    Loaded,
    Ready,
    ResidentEvent,
    Unloaded,
)
from mlxknife.ports.engines.hosts import Hosts
from mlxknife.ports.system.system import System


@attrs.define(eq=False)
class Residents:
    """Loads models when they are asked for, and unloads them when there is no room or nobody asks any more."""

    hosts: Hosts
    system: System
    limits: Limits = attrs.field(factory=Limits)
    idle_seconds: float | None = None
    """After how long without a request a model is unloaded."""
    profile: str | None = None
    """How a machine without GPU is used; without it the memory decides."""
    has_gpu: bool = False
    on_event: Callable[[ResidentEvent], None] | None = None
    """Is told what becomes of the models: that one began is followed by that it is ready, and by one end."""
    _loaded: dict[str, Resident] = attrs.field(factory=dict)
    _queue: list[Asked] = attrs.field(factory=list)
    """Who waits for room, in order."""
    _kept: dict[str, Served] = attrs.field(factory=dict)
    """What is to be loaded whenever there is room for it."""
    _is_closed: bool = False
    _falls: FallBook = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin without any falls."""
        self._falls = FallBook(self.system)

    def claim(self, served: Served, on_claim: Callable[[Claim | KnifeError], None]) -> Callable[[], None]:
        """Ask for a model, and return what forgets that one asked.

        ``on_claim`` is called once, now or later: with a claim, which must be released, or with what is in the way:
        NotEnoughMemory, WorkerLost where the model fell too often lately, ServerBusy at the end of all, whatever its
        process could not be loaded for.
        """
        asked = Asked(served, on_claim)
        self._supersede(served)
        resident = self._loaded.get(served.key)
        if resident is None or resident.goes_next:
            self._queue.append(asked)
            self._serve_queue()
        else:
            self._admit(resident, asked)
        return partial(self._forget, asked)

    def keep(self, served: Served) -> None:
        """Load a model now, and whenever it is gone and there is room for it; it makes room for others last of all."""
        self._kept[served.key] = served
        self.claim(served, partial(self._let_go, served))

    @property
    def keeps(self) -> bool:
        """Whether there are models to be kept."""
        return bool(self._kept)

    def loaded(self) -> tuple[Resident, ...]:
        """Return what is loaded, or is being loaded."""
        return tuple(self._loaded.values())

    @property
    def waiting(self) -> int:
        """How many wait for a model."""
        return len(self._queue) + sum(len(resident.waiting) for resident in self._loaded.values())

    def tick(self) -> None:
        """Unload what nobody used for long, and load what is to be kept. To be called every second or so."""
        for served in tuple(self._kept.values()):
            self._supersede(served)
            if served.key not in self._loaded and not self._queue and self._has_room(served):
                self.keep(served)
        if self.idle_seconds is None:
            return
        oldest = self.system.ticks() - self.idle_seconds
        for resident in self.loaded():
            is_kept = resident.served.key in self._kept
            is_idle = not resident.is_used and not is_kept and resident.state is State.READY
            if is_idle and resident.last_used < oldest:
                self._unload(resident)

    def close(self) -> None:
        """End all processes; whoever waits or is being answered is told so."""
        self._is_closed = True
        queue, self._queue = self._queue, []
        for asked in queue:
            asked.on_claim(_stopping())
        for resident in self.loaded():
            del self._loaded[resident.served.key]
            resident.fall(_stopping())
            self._tell(Unloaded(resident.name))

    def _let_go(self, served: Served, claim: Claim | KnifeError) -> None:
        if isinstance(claim, Claim):
            claim.release()
        elif isinstance(claim, NotEnoughMemory):  # nothing began of whose end anybody would hear
            self._tell(LeftOut(served.info.name, claim))

    def _released(self, claim: Claim) -> None:
        resident = claim.resident
        if claim in resident.claims:
            resident.claims.discard(claim)
            resident.last_used = self.system.ticks()
            self._serve_queue()

    def _supersede(self, served: Served) -> None:
        """Let go of what stood in the same place before: nobody will ask for it again."""
        for before in [one for one in self._kept.values() if _is_replaced(one, served)]:
            del self._kept[before.key]
            self._kept[served.key] = served
        for resident in self.loaded():
            if _is_replaced(resident.served, served) and not resident.is_used:
                self._unload(resident)

    # --- room

    def _forget(self, asked: Asked) -> None:
        if asked in self._queue:
            self._queue.remove(asked)
        resident = self._loaded.get(asked.served.key)
        if resident is not None and asked in resident.waiting:
            resident.waiting.remove(asked)
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Give whoever waits what there is room for, in order; who comes later never overtakes.

        Whoever is told something may ask, leave or close all before this goes on: nobody is taken out but who is next.
        """
        for resident in self._loaded.values():
            resident.goes_next = False
        while self._queue:
            asked = self._queue.pop(0)
            if not self._is_served(asked):
                self._queue.insert(0, asked)
                return

    def _is_served(self, asked: Asked) -> bool:
        """Whether somebody got a model, a place to wait for it, or an answer why not."""
        if self._is_closed:
            asked.on_claim(_stopping())
            return True
        resident = self._loaded.get(asked.served.key)
        if resident is None:
            try:
                resident = self._begin(asked.served)
            except (NotEnoughMemory, WorkerLost) as exc:
                asked.on_claim(exc)
                return True
            except Exception as exc:  # noqa: BLE001 - a defect costs the one who met it, and nobody behind
                error = _not_begun(asked.served, exc)
                try:
                    self._undo(asked.served, error)
                finally:  # whatever else fails, nobody waits for ever
                    asked.on_claim(error)
                return True
            if resident is None:
                return False
        self._admit(resident, asked)
        return True

    def _begin(self, served: Served) -> Resident | None:
        """Start loading a model; None where another has to end something first."""
        self._falls.check(served)
        profile, size = self._size(served)
        room = eviction.room_for(served.info.name, size, self._occupants(), self.limits)
        if not room.is_there:
            for key in room.awaited:
                self._loaded[key].goes_next = True
            return None
        for key in room.leaving:
            self._unload(self._loaded[key])
        resident = Resident(served, size, self.system.ticks())
        self._loaded[served.key] = resident
        self._tell(Began(resident.name))
        resident.host = self.hosts.start(served.location, profile, partial(self._heard, resident))
        return resident

    def _undo(self, served: Served, error: InternalError) -> None:
        """Forget what was begun of a model when something failed that nobody thought of."""
        resident = self._loaded.pop(served.key, None)
        if resident is None:
            self._tell(LeftOut(served.info.name, error))
        else:
            self._falls.note(served)
            self._tell(Fallen(resident.name, error))

    def _has_room(self, served: Served) -> bool:
        """Whether a model could be loaded now without another one's leaving."""
        if self._is_closed or self._falls.is_left_alone(served):
            return False
        try:
            room = eviction.room_for(served.info.name, self._size(served)[1], self._occupants(), self.limits)
        except NotEnoughMemory:
            return False
        return room == Room()

    def _occupants(self) -> list[Occupant]:
        return [
            Occupant(key, one.bytes, one.is_used, one.last_used, key in self._kept) for key, one in self._loaded.items()
        ]

    def _size(self, served: Served) -> tuple[str, int]:
        """Return the profile that fits best, and what the model takes with it."""
        free = self.limits.memory_bytes
        profile = self.profile or memory.profile(served.need, free)
        return profile, memory.taken(served.need, free, profile, has_gpu=self.has_gpu)

    def _admit(self, resident: Resident, asked: Asked) -> None:
        if resident.state is State.READY:
            asked.on_claim(self._claimed(resident))
        else:
            resident.waiting.append(asked)

    def _claimed(self, resident: Resident) -> Claim:
        claim = Claim(resident, self._released)
        resident.claims.add(claim)
        resident.last_used = self.system.ticks()
        return claim

    def _unload(self, resident: Resident) -> None:
        del self._loaded[resident.served.key]
        resident.unload()
        self._tell(Unloaded(resident.name))

    def _tell(self, event: ResidentEvent) -> None:
        if self.on_event is not None:
            self.on_event(event)

    # --- what the processes tell

    def _heard(self, resident: Resident, event: HostEvent) -> None:
        if self._loaded.get(resident.served.key) is not resident:
            return
        if isinstance(event, BatchStep):
            if resident.stepped(event):
                self._falls.forgive(resident.served)
        elif isinstance(event, Loaded):
            resident.model, resident.load_seconds = event.model, event.seconds
            resident.state, resident.last_used = State.READY, self.system.ticks()
            self._tell(Ready(resident.name, event.seconds))
            waiting, resident.waiting = resident.waiting, []
            claims = [self._claimed(resident) for _ in waiting]  # all hold it before one of them can let go
            for asked, claim in zip(waiting, claims, strict=True):
                asked.on_claim(claim)
        elif isinstance(event, Fell):
            self._falls.note(resident.served)
            del self._loaded[resident.served.key]
            self._tell(Fallen(resident.name, event.error))
            resident.fall(event.error)
            self._serve_queue()


def _is_replaced(before: Served, now: Served) -> bool:
    return before.location == now.location and before.key != now.key


def _not_begun(served: Served, exc: Exception) -> InternalError:
    """Return what a client is told of a defect; what it was stands in a note, for the log."""
    error = InternalError(f"'{served.info.name}' could not be started", hint=HintCode.SERVER_LOG)
    error.add_note(f"{type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _stopping() -> ServerBusy:
    return ServerBusy("The server is stopping", retry_after=1.0)
