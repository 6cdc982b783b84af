"""The splitter of tool calls: separates the calls in the text of an answer from the rest.

Text is held back only while it may be the begin of a call. A call of an unknown tool, or of none, is text. Blanks
before, between and after calls are dropped where no text follows them. If an answer ends within a call, what has not
been yielded yet is text. A forced answer has no text at all: there it is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from mlxknife.domain.tools.rules.cursor import Cursor, NoCall, Reading
from mlxknife.domain.tools.rules.families import FORMATS, Begin, Shape, ToolFamily
from mlxknife.domain.tools.rules.readers import CallReader, stripped
from mlxknife.domain.tools.values import Tool, ToolCallDelta

_OPENINGS = {Shape.JSON: "{", Shape.PYTHON: "["}
"""How a call begins that has no marker."""
_SEPARATORS = (";", ",")


class ToolCallSplitter:
    """Splits one answer. The joined text and the joined calls do not depend on how the answer is cut."""

    def __init__(
        self,
        family: ToolFamily,
        tools: Sequence[Tool],
        new_id: Callable[[], str],
        *,
        is_parallel: bool = True,
        is_forced: bool = False,
    ) -> None:
        """Take the family of the model, the tools, and what makes the id of a call.

        With ``is_parallel=False`` the answer ends after its first call. ``is_forced`` says that a grammar allows
        nothing but calls.
        """
        self._form = FORMATS[family]
        self._cursor = Cursor()
        self._reader = CallReader(self._cursor, self._form, tools, new_id)
        self._names = frozenset(tool.name for tool in tools)
        self._is_parallel = is_parallel
        self._is_forced = is_forced
        markers = {markers[0] for part in (self._form.begin, self._form.call_begin) if (markers := stripped(part))}
        self._markers = tuple(sorted(markers))
        self._starts = re.compile("|".join(map(re.escape, self._markers)))
        self._gap = list[str]()
        """Blanks that are held back."""
        self._follows_call = False
        """Whether nothing but blanks has come since the last call."""
        self._reading = self._answer()

    @property
    def has_called(self) -> bool:
        """Whether a call has begun."""
        return self._reader.count > 0

    @property
    def has_finished(self) -> bool:
        """Whether the only call of the answer is complete; the rest of the answer is dropped."""
        return not self._is_parallel and self._reader.is_last_complete

    @property
    def holds_text(self) -> bool:
        """Whether text is held back that may not belong to a call."""
        return bool(self._gap) or self._cursor.holds_text

    def markup(self, name: str) -> str:
        """Return the markup before the JSON arguments of a call, or an empty text if no tool has this name."""
        form = self._form
        if form.shape is not Shape.NAMED_JSON or name not in self._names:
            return ""
        return "".join((*form.begin, *form.call_begin, form.prefix, name, *form.name_end))

    def feed(self, text: str) -> Iterator[str | ToolCallDelta]:
        """Yield the text and the parts of calls that are certain by now."""
        if not self.has_finished:
            self._cursor.add(text)
            yield from self._certain()

    def flush(self) -> Iterator[str | ToolCallDelta]:
        """Yield what was held back, at the end of the answer."""
        self._cursor.has_ended = True
        yield from self._certain()

    def _certain(self) -> Iterator[str | ToolCallDelta]:
        while not self.has_finished and (part := next(self._reading, None)) is not None:
            if not (self._is_forced and isinstance(part, str)):
                yield part

    def _answer(self) -> Reading[None]:
        can_lack_marker = self._form.is_begun is not Begin.ALWAYS and self._can_lack_marker
        while True:
            try:
                if not (can_lack_marker and (yield from self._call_without_marker())):
                    if not (yield from self._text()):
                        return
                    yield from self._call_at_marker()
                yield from self._after_call()
                can_lack_marker = self._can_lack_marker
            except NoCall:
                yield from self._shown(self._cursor.give_back())
                can_lack_marker = False

    @property
    def _can_lack_marker(self) -> bool:
        return self._form.shape in _OPENINGS and not self._form.call_begin

    def _text(self) -> Reading[bool]:
        """Yield text until a marker comes next; return whether one does."""
        while True:
            text, is_at_marker = self._cursor.passed(self._starts, self._markers)
            yield from self._shown(text)
            if is_at_marker:
                return True
            if self._cursor.has_ended:
                break
            yield None
        if self._gap and not self._follows_call:
            yield "".join(self._gap)
        return False

    def _shown(self, text: str) -> Reading[None]:
        """Yield text without the blanks at its end, which may come before a call."""
        shown = text.rstrip()
        if shown:
            yield "".join([*self._gap, shown])
            self._gap.clear()
            self._follows_call = False
        if len(shown) < len(text):
            self._gap.append(text[len(shown) :])

    def _call_at_marker(self) -> Reading[None]:
        begin = stripped(self._form.begin)
        if begin and (yield from self._cursor.markers(begin)):
            yield from self._cursor.blanks()
        yield from self._reader.call()

    def _call_without_marker(self) -> Reading[bool]:
        """Read a call that begins the answer or follows another; return False if there is none."""
        yield from self._cursor.blanks()
        if self.has_called:
            for separator in _SEPARATORS:
                if (yield from self._cursor.literal(separator)):
                    yield from self._cursor.blanks()
        opening = yield from self._cursor.peek()
        if not opening or opening != _OPENINGS[self._form.shape]:
            yield from self._shown(self._cursor.give_back())
            return False
        yield from self._reader.call()
        return True

    def _after_call(self) -> Reading[None]:
        """Take the end of a call."""
        self._gap.clear()
        self._follows_call = True
        yield from self._reader.closing()
        yield from self._shown(self._cursor.give_back())
