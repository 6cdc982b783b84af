"""Trying again: how often, and how long to wait in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import attrs

from mlxknife.adapters.hub.refusals import TryAgain

_Result = TypeVar("_Result")


@attrs.frozen
class Patience:
    """Waits twice as long after each failure; a Hub that asks for more than ``longest_asked`` is not waited for."""

    tries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 8.0
    longest_asked: float = 60.0

    def wait(self, failures: int, trouble: TryAgain, stop: threading.Event) -> None:
        """Wait before the next try; raise the error where that was the last one, or nobody wants the result."""
        asked = trouble.after or 0.0
        if failures >= self.tries or asked > self.longest_asked:
            raise trouble.error from trouble
        usual = min(self.longest_wait, self.first_wait * 2 ** (failures - 1))
        if stop.wait(max(asked, usual)):
            raise trouble.error from trouble

    def insist(self, work: Callable[[], _Result]) -> _Result:
        """Return what a work returns once it does not raise TryAgain; the last of these becomes its error."""
        failures = 0
        while True:
            try:
                return work()
            except TryAgain as trouble:
                failures += 1
                self.wait(failures, trouble, threading.Event())
