"""The heartbeat monitor: a model process must send heartbeats, and must make progress while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from mlxknife.domain.errors import WorkerLost
from mlxknife.domain.hints import HintCode

_MISSED = 8
"""Heartbeats that may be missed."""
_MAX_INTERVAL = 1.0


@attrs.frozen
class HeartbeatLimits:
    """The seconds after which a process counts as hung."""

    silence: float = 8.0
    """Without any message."""
    loading: float = 120.0
    """Without any message while it loads, when it may be too busy for heartbeats."""
    stall: float = 600.0
    """Without a finished step while requests run."""

    @property
    def interval(self) -> float:
        """The seconds between two heartbeats."""
        return min(_MAX_INTERVAL, self.silence / _MISSED)


class HeartbeatMonitor:
    """Counts the seconds without a message.

    Only time counts in which this side could read: the process is not blamed if the machine slept or the loop was busy.
    """

    def __init__(
        self, limits: HeartbeatLimits, read: Callable[[], None], on_hang: Callable[[WorkerLost], None]
    ) -> None:
        """Take the limits; ``read`` is called before each check, ``on_hang`` once."""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._read = read
        self._on_hang = on_hang
        self._silence = self._stall = 0.0
        self._is_loading, self._is_busy = True, False
        self._steps = 0
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to monitor a process that loads its model."""
        self._last = self._loop.time()
        self._timer = self._loop.call_later(self._limits.interval, self._check)

    def message(self) -> None:
        """Note that a message was received."""
        self._silence = 0.0

    def loaded(self) -> None:
        """Note that the model is loaded."""
        self._is_loading = False

    def steps(self, count: int) -> None:
        """Note how many steps the process has finished."""
        if count != self._steps:
            self._steps, self._stall = count, 0.0

    def progress(self) -> None:
        """Note that a request has made progress."""
        self._stall = 0.0

    def busy(self, *, is_busy: bool) -> None:
        """Note whether there are requests. More of them are no progress of the process."""
        if is_busy != self._is_busy:
            self._is_busy, self._stall = is_busy, 0.0

    def close(self) -> None:
        """Stop to monitor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        limits, now = self._limits, self._loop.time()
        passed, self._last = min(now - self._last, 2 * limits.interval), now
        self._silence += passed
        self._stall = self._stall + passed if self._is_busy and not self._is_loading else 0.0
        self._timer = self._loop.call_later(limits.interval, self._check)
        self._read()
        if self._timer is None:
            return
        limit = limits.loading if self._is_loading else limits.silence
        if self._silence >= limit:
            self._hang(f"it sent nothing for {limit:g} seconds")
        elif self._stall >= limits.stall:
            self._hang(f"it finished no step for {limits.stall:g} seconds")

    def _hang(self, how: str) -> None:
        self.close()
        msg = f"The model process hung: {how}"
        self._on_hang(WorkerLost(msg, hint=HintCode.RETRY_STARTS_PROCESS))
