"""Stop strings: a text ends where the first complete stop string begins, however the text is cut into deltas."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text through until a stop string begins. Holds back text that may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Take the stop strings; empty ones are ignored."""
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.has_stopped = False

    @property
    def holds_text(self) -> bool:
        """Whether text is held back that may be the start of a stop string."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """Return the text that is certain by now: nothing after a stop."""
        if not self._stops:
            return text
        if self.has_stopped:
            return ""
        self._held += text
        found = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if found:
            _, start = min(found)  # the first complete one, as if the text came character by character
            self.has_stopped = True
            passed, self._held = self._held[:start], ""
            return passed
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        passed, self._held = self._held[:cut], self._held[cut:]
        return passed

    def flush(self) -> str:
        """Return the text that was held back, at the end of the answer."""
        passed, self._held = self._held, ""
        return "" if self.has_stopped else passed


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that begins a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
