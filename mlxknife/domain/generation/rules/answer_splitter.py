"""The answer splitter: turns the text of one answer into deltas: reasoning, text and tool calls.

Markers of reasoning and calls belong to no text. Stop strings apply to the text, not to reasoning and calls. No stop
string continues after a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, ReasoningSplitter
from mlxknife.domain.generation.rules.stop_strings import StopMatcher
from mlxknife.domain.generation.values.answer import TextDelta, TextKind
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import ToolCallDelta


class AnswerSplitter:
    """Splits one answer. The joined deltas do not depend on how the text is cut."""

    def __init__(
        self, markers: ReasoningMarkers | None, stops: Sequence[str], calls: ToolCallSplitter | None = None
    ) -> None:
        """Take the reasoning markers, or None where all text is answer, the stop strings, and what finds calls."""
        self._is_plain = markers is None and not any(stops) and calls is None
        self._reasoning = ReasoningSplitter(markers) if calls is None else ReasoningSplitter(markers, calls.markup)
        self._calls = calls
        self._stop = StopMatcher(stops)

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string was complete."""
        return self._stop.has_stopped

    @property
    def has_called(self) -> bool:
        """Whether a tool call has begun."""
        return self._calls is not None and self._calls.has_called

    @property
    def has_ended(self) -> bool:
        """Whether the answer ends here: a stop string or its only call is complete."""
        return self.has_stopped or (self._calls is not None and self._calls.has_finished)

    @property
    def holds_text(self) -> bool:
        """Whether text is held back that may come with a later delta."""
        holds_call = self._calls is not None and self._calls.holds_text
        return self._reasoning.holds_text or holds_call or self._stop.holds_text

    def feed(self, text: str) -> Iterator[TextDelta | ToolCallDelta]:
        """Yield the deltas that are certain by now."""
        if self._is_plain:
            if text:
                yield TextDelta(TextKind.ANSWER, text)
            return
        for delta in self._reasoning.feed(text):
            if not self.has_ended:
                yield from self._without_calls(delta)

    def flush(self) -> Iterator[TextDelta | ToolCallDelta]:
        """Yield the deltas that were held back, at the end of the answer."""
        for delta in self._reasoning.flush():
            if not self.has_ended:
                yield from self._without_calls(delta)
        if self._calls is not None:
            yield from self._parts(self._calls.flush())
        yield from self._without_stop_start()

    def _without_calls(self, delta: TextDelta) -> Iterator[TextDelta | ToolCallDelta]:
        if self._calls is None or delta.kind is TextKind.REASONING:
            yield from self._without_stop(delta)
        else:
            yield from self._parts(self._calls.feed(delta.text))

    def _parts(self, parts: Iterator[str | ToolCallDelta]) -> Iterator[TextDelta | ToolCallDelta]:
        while not self.has_stopped and (part := next(parts, None)) is not None:
            if isinstance(part, str):
                yield from self._without_stop(TextDelta(TextKind.ANSWER, part))
                continue
            if part.id:
                yield from self._without_stop_start()
            yield part

    def _without_stop_start(self) -> Iterator[TextDelta]:
        """Yield the text that is no start of a stop string after all."""
        held = self._stop.flush()
        if held:
            yield TextDelta(TextKind.ANSWER, held)

    def _without_stop(self, delta: TextDelta) -> Iterator[TextDelta]:
        if delta.kind is TextKind.ANSWER:
            delta = TextDelta(delta.kind, self._stop.feed(delta.text))
        if delta.text:
            yield delta
