"""The loop guard: recognises an answer that does nothing but repeat the same tokens."""

from __future__ import annotations

from collections import deque

MAX_PERIOD = 64
"""The length in tokens of the longest cycle that counts as a loop."""
MIN_REPEATS = 8
MIN_SPAN = 256
"""The fewest tokens that a loop spans. Lists, tables and ruled lines repeat less."""


class LoopGuard:
    """Watches the tokens of one answer. Each token costs at most ``MAX_PERIOD`` comparisons."""

    def __init__(self) -> None:
        """Begin without tokens."""
        self._recent = deque[int](maxlen=MAX_PERIOD)
        """The last tokens, the newest first."""
        self._runs: dict[int, int] = {}
        """For each period that the last token continues: how many tokens in a row equal the one a period before."""

    def feed(self, token: int) -> bool:
        """Take the next token; return whether the answer now ends in a loop.

        That is a cycle of 1 to ``MAX_PERIOD`` tokens, repeated at least ``MIN_REPEATS`` times and over at least
        ``MIN_SPAN`` tokens.
        """
        runs = self._runs
        self._runs = {
            period: runs.get(period, 0) + 1 for period, earlier in enumerate(self._recent, 1) if earlier == token
        }
        self._recent.appendleft(token)
        return any(period + run >= max(MIN_SPAN, MIN_REPEATS * period) for period, run in self._runs.items())
