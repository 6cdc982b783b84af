"""The answer splitter: turns the text of one answer into text deltas, without reasoning markers and stop strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, ReasoningSplitter
from mlxknife.domain.generation.rules.stop_strings import StopMatcher
from mlxknife.domain.generation.values.answer import TextDelta, TextKind


class AnswerSplitter:
    """Splits one answer. The joined deltas do not depend on how the text is cut."""

    def __init__(self, markers: ReasoningMarkers | None, stops: Sequence[str]) -> None:
        """Take the reasoning markers, or None where all text is answer, and the stop strings."""
        self._is_plain = markers is None and not any(stops)
        self._reasoning = ReasoningSplitter(markers)
        self._stop = StopMatcher(stops)
        self._held = 0
        """The number of characters of the answer that are held back or cut off."""
        self.fed = 0
        """The characters of reasoning and answer so far; counted where there are stop strings."""
        self.passed = 0
        """The characters before the first one that is held back or cut off."""

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string was complete."""
        return self._stop.has_stopped

    def feed(self, text: str) -> Iterator[TextDelta]:
        """Yield the deltas that are certain by now."""
        if self._is_plain:
            if text:
                yield TextDelta(TextKind.ANSWER, text)
            return
        for delta in self._reasoning.feed(text):
            yield from self._without_stop(delta)

    def flush(self) -> Iterator[TextDelta]:
        """Yield the deltas that were held back, at the end of the answer."""
        for delta in self._reasoning.flush():
            yield from self._without_stop(delta)
        held = self._stop.flush()
        if held:
            self.passed, self._held = self.fed, 0
            yield TextDelta(TextKind.ANSWER, held)

    def _without_stop(self, delta: TextDelta) -> Iterator[TextDelta]:
        size = len(delta.text)
        self.fed += size
        if delta.kind is TextKind.ANSWER:
            delta = TextDelta(delta.kind, self._stop.feed(delta.text))
            self._held += size - len(delta.text)
            if self._held <= size:
                self.passed = self.fed - self._held
            else:  # the text that is held back began before this delta
                self.passed += len(delta.text)
        elif not self._held:
            self.passed = self.fed
        if delta.text:
            yield delta
