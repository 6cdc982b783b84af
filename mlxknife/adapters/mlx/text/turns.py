"""Whose turn it is at a model that gives one answer at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import EngineError
from mlxknife.domain.hints import HintCode


class Turn:
    """A lock: others wait, but whoever still has an answer open is told so instead of waiting for ever."""

    def __init__(self) -> None:
        """Begin with nobody's turn."""
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the turn. Raises EngineError where the same thread has it."""
        if not self._lock.acquire(blocking=False):
            if self._owner == threading.get_ident():
                msg = "An answer of this model is still open in this thread"
                raise EngineError(msg, hint=HintCode.FINISH_ANSWER)
            self._lock.acquire()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()
