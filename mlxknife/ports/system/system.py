"""Memory and clocks of the machine."""

from __future__ import annotations

from typing import Protocol


class System(Protocol):
    """Returns facts about the machine that the product runs on."""

    def memory_total_bytes(self) -> int | None:
        """Return the physical memory, or None where the system does not report it. Raises nothing."""
        ...

    def memory_available_bytes(self) -> int | None:
        """Return the memory that programs can allocate, or None where the system does not report it. Raises nothing."""
        ...

    def now(self) -> float:
        """Return the time as seconds since 1970, UTC. Raises nothing."""
        ...

    def ticks(self) -> float:
        """Return the seconds of a monotonic clock. Raises nothing."""
        ...
