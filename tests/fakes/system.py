"""A machine with the memory and the clock that a test sets."""

from __future__ import annotations

import attrs


@attrs.define
class FakeSystem:
    """Fulfils ``System``. The clock stands still until a test changes ``time``."""

    memory: int | None = 16 * 2**30
    available: int | None = 8 * 2**30
    time: float = 1_800_000_000.0

    def memory_total_bytes(self) -> int | None:
        return self.memory

    def memory_available_bytes(self) -> int | None:
        return self.available

    def now(self) -> float:
        return self.time

    def ticks(self) -> float:
        return self.time - 1_700_000_000.0
