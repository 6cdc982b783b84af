"""Retries: how often a request is repeated, and how long to wait in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import attrs

from mlxknife.adapters.hub.errors import RetryableError

_Result = TypeVar("_Result")


@attrs.frozen
class RetryPolicy:
    """Waits twice as long after each failure, and at least as long as the Hub's ``Retry-After`` says."""

    tries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 8.0
    longest_retry_after: float = 60.0
    """The longest ``Retry-After`` that is waited for."""

    def wait(self, failures: int, failure: RetryableError, stop: threading.Event) -> None:
        """Wait before the next try, after so many failures in a row.

        Raises the error of ``failure`` where no try is left, the Hub asks for a longer wait, or ``stop`` is set.
        """
        retry_after = failure.retry_after or 0.0
        if failures >= self.tries or retry_after > self.longest_retry_after:
            raise failure.error from failure
        backoff = min(self.longest_wait, self.first_wait * 2 ** (failures - 1))
        if stop.wait(max(retry_after, backoff)):
            raise failure.error from failure

    def call(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of ``work``, repeated while it raises RetryableError; at the last try, raise its error."""
        failures = 0
        while True:
            try:
                return work()
            except RetryableError as failure:
                failures += 1
                self.wait(failures, failure, threading.Event())
