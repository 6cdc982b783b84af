"""The model pool's rules: which models make room for another, and how long a crashed model is not restarted."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.errors import NotEnoughMemory
from mlxknife.domain.hints import HintCode
from mlxknife.domain.text.rules import display

_MAX_BACK_OFF = 60.0


@attrs.frozen
class PoolEntry:
    """A model that is loaded or being loaded, as far as eviction is concerned."""

    key: str
    bytes: int
    is_leased: bool
    """Whether a request holds it; then it stays until the lease ends."""
    last_used: float
    is_kept: bool = False
    """Whether it is evicted only if nothing else can be."""


@attrs.frozen
class PoolLimits:
    """How much may be loaded at once."""

    memory_bytes: int | None = None
    """None where the machine does not report its memory."""
    models: int | None = None


@attrs.frozen
class Eviction:
    """The models that make room for another one."""

    evicted: tuple[str, ...] = ()
    """They can be unloaded at once."""
    awaited: tuple[str, ...] = ()
    """They get no new leases and are unloaded when the last one ends."""

    @property
    def is_immediate(self) -> bool:
        """Whether no lease must end first."""
        return not self.awaited


def eviction_for(name: str, size: int, entries: Sequence[PoolEntry], limits: PoolLimits) -> Eviction:
    """Return the fewest models that make room for another one, least recently used first.

    Models without a lease go before leased ones, and among either the kept ones go last.

    Raises NotEnoughMemory for a model that does not fit alone.
    """
    free = limits.memory_bytes
    if free is not None and size > free:
        msg = f"'{name}' needs {display.size(size)} of memory, and a server may use {display.size(free)}"
        raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
    staying = sorted(entries, key=lambda one: (one.is_leased, one.is_kept, one.last_used), reverse=True)
    leaving = list[PoolEntry]()
    while staying and not _fits(size, staying, limits):
        leaving.append(staying.pop())
    return Eviction(
        tuple(one.key for one in leaving if not one.is_leased), tuple(one.key for one in leaving if one.is_leased)
    )


def back_off_seconds(crashes: int) -> float:
    """Return the pause after a number of crashes in a row: none after the first, then it doubles."""
    if crashes <= 1:
        return 0.0
    return min(_MAX_BACK_OFF, 2.0 ** min(crashes - 2, 10))


def _fits(size: int, staying: Sequence[PoolEntry], limits: PoolLimits) -> bool:
    if limits.models is not None and len(staying) >= limits.models:
        return False
    return limits.memory_bytes is None or size + sum(one.bytes for one in staying) <= limits.memory_bytes
