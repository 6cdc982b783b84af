"""Memory and clocks of this machine."""

from __future__ import annotations

import os
import time


class Machine:
    """The machine that this process runs on."""

    def __repr__(self) -> str:
        """Return the name of the class."""
        return f"{type(self).__name__}()"

    def memory_total_bytes(self) -> int | None:
        """See ``System.memory_total_bytes``."""
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None

    def memory_available_bytes(self) -> int | None:
        """See ``System.memory_available_bytes``."""
        try:
            with open("/proc/meminfo", "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            return self.memory_total_bytes()  # macOS can free most of the memory in use
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"MemAvailable:")), None)

    def now(self) -> float:
        """See ``System.now``."""
        return time.time()

    def ticks(self) -> float:
        """See ``System.ticks``."""
        return time.monotonic()
