"""Whether a model's process still lives: it must say something now and then, and get on while rows run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from mlxknife.domain.errors import WorkerLost
from mlxknife.domain.hints import HintCode

_BEATS = 8
"""Signs of life that may be missed."""
_MOST = 1.0


@attrs.frozen
class Limits:
    """After how many seconds a process counts as hanging."""

    silence: float = 8.0
    """Without a sign of life."""
    loading: float = 120.0
    """Without one while it starts and loads, when it may be too busy for that."""
    stall: float = 600.0
    """Without a finished step while rows run."""

    @property
    def beat(self) -> float:
        """How often it gives a sign of life."""
        return min(_MOST, self.silence / _BEATS)


class Watch:
    """Counts the seconds in which nothing came.

    Only those count in which this side could have heard something: where everything stood still, as when a machine
    sleeps or a loop was busy, nobody is to blame.
    """

    def __init__(self, limits: Limits, look: Callable[[], None], on_hang: Callable[[WorkerLost], None]) -> None:
        """Begin to watch. ``look`` is called at each turn before it is judged, ``on_hang`` once."""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._look = look
        self._on_hang = on_hang
        self._pause = limits.beat
        self._silence = self._stall = 0.0
        self._is_loading, self._is_at_work = True, False
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(self._pause, self._turn)

    def heard(self) -> None:
        """Take note of a sign of life."""
        self._silence = 0.0

    def loaded(self) -> None:
        """Take note that the model is loaded."""
        self._is_loading = False

    def got_on(self, *, is_at_work: bool) -> None:
        """Take note of a finished step, or of work to do."""
        self._stall = 0.0
        self._is_at_work = is_at_work

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        now = self._loop.time()
        passed, self._last = min(now - self._last, 2 * self._pause), now
        self._silence += passed
        self._stall = self._stall + passed if self._is_at_work and not self._is_loading else 0.0
        self._timer = self._loop.call_later(self._pause, self._turn)
        self._look()
        if self._timer is None:
            return
        limits = self._limits
        limit = limits.loading if self._is_loading else limits.silence
        if self._silence >= limit:
            self._hang(f"it said nothing for {limit:g} seconds")
        elif self._stall >= limits.stall:
            self._hang(f"it finished no step for {limits.stall:g} seconds")

    def _hang(self, how: str) -> None:
        self.close()
        msg = f"The process of the model hung: {how}"
        self._on_hang(WorkerLost(msg, hint=HintCode.RETRY_STARTS_PROCESS))
