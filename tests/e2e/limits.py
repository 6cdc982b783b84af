"""Limits of the system for the processes that a block starts."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited(kind: int, soft: int, hard: int | None = None) -> Iterator[None]:
    """Lower a limit while the block runs, also for the processes that it starts. Only root may lower a hard one."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1] if hard is None else hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)
