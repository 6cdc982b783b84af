"""Stop strings: ending a text where the first to be complete begins, wherever the pieces of the text are cut."""

from __future__ import annotations

from collections.abc import Sequence


class StopWatch:
    """Lets text through until a stop string begins; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Take the stop strings; empty ones stop nothing."""
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.has_stopped = False

    def feed(self, text: str) -> str:
        """Return what can be shown by now; nothing once it has stopped."""
        if not self._stops:
            return text
        if self.has_stopped:
            return ""
        self._held += text
        found = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            _, begins = min(found)  # the first to be complete, as if the text came a character at a time
            self.has_stopped = True
            shown, self._held = self._held[:begins], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """Return what was held back, because nothing more will come."""
        shown, self._held = self._held, ""
        return "" if self.has_stopped else shown


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text are the beginning of a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
