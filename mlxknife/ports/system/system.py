"""The machine."""

from __future__ import annotations

from typing import Protocol


class System(Protocol):
    """Knows the machine that the product runs on."""

    def memory_total_bytes(self) -> int | None:
        """Return the physical memory, or None where the machine does not tell. Raises nothing."""
        ...

    def memory_available_bytes(self) -> int | None:
        """Return the memory that programs can still have, or None where the machine does not tell. Raises nothing."""
        ...

    def now(self) -> float:
        """Return the time as seconds since 1970, UTC. Raises nothing."""
        ...

    def ticks(self) -> float:
        """Return seconds since some moment, which nobody can set back or forth. Raises nothing."""
        ...
