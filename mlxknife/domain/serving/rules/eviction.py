"""Residency: which loaded models make room for another, and when one that fell may be loaded again."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.errors import NotEnoughMemory
from mlxknife.domain.hints import HintCode
from mlxknife.domain.text.rules import display

_LONGEST_PAUSE = 60.0


@attrs.frozen
class Occupant:
    """A model that is loaded or being loaded, as far as its place matters."""

    key: str
    bytes: int
    is_used: bool
    """Whether a request holds it; then it stays."""
    last_used: float
    is_kept: bool = False
    """Whether it goes only when nothing else can."""


@attrs.frozen
class Limits:
    """How much may be loaded at a time."""

    memory_bytes: int | None = None
    """None where the machine does not tell how much it has."""
    models: int | None = None


@attrs.frozen
class Room:
    """What makes room for a model: ``leaving`` goes at once, and ``awaited`` takes no more requests until it can go."""

    leaving: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether nothing has to be waited for."""
        return not self.awaited


def room_for(name: str, size: int, occupants: Sequence[Occupant], limits: Limits) -> Room:
    """Return which models go, so that another fits: as few as can be, the least recently used first.

    Those that nobody uses go before those in use, and of either those that are to be kept go last.

    Raises NotEnoughMemory for a model that fits not even alone.
    """
    free = limits.memory_bytes
    if free is not None and size > free:
        msg = f"'{name}' needs {display.size(size)} of memory, and a server may use {display.size(free)}"
        raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
    staying = sorted(occupants, key=lambda one: (one.is_used, one.is_kept, one.last_used), reverse=True)
    leaving = list[Occupant]()
    while staying and not _fits(size, staying, limits):
        leaving.append(staying.pop())
    return Room(tuple(one.key for one in leaving if not one.is_used), tuple(one.key for one in leaving if one.is_used))


def pause_after(falls: int) -> float:
    """Return how many seconds to wait after so many falls in a row: none after the first, then twice as long each."""
    if falls <= 1:
        return 0.0
    return min(_LONGEST_PAUSE, 2.0 ** min(falls - 2, 10))


def _fits(size: int, staying: Sequence[Occupant], limits: Limits) -> bool:
    if limits.models is not None and len(staying) >= limits.models:
        return False
    return limits.memory_bytes is None or size + sum(one.bytes for one in staying) <= limits.memory_bytes
