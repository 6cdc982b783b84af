"""The machine."""

from __future__ import annotations

import os
import time


class Machine:
    """The machine that the process runs on."""

    def memory_total_bytes(self) -> int | None:
        """See ``System.memory_total_bytes``."""
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None

    def now(self) -> float:
        """See ``System.now``."""
        return time.time()
