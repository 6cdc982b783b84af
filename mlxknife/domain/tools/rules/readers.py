"""Readers of tool calls: one for each shape of a call. See ``Shape``.

A reader takes one call from a cursor and yields it as it comes: arguments in JSON piece by piece, other formats in
whole arguments or whole calls. It raises NoCall where the text is not a call of a known tool. The cursor still has what
was not yielded then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mlxknife.domain.tools.rules.arguments import ArgumentTypes
from mlxknife.domain.tools.rules.cursor import Cursor, NoCall, Reading
from mlxknife.domain.tools.rules.families import Shape, ToolFormat
from mlxknife.domain.tools.rules.literals import PYTHON_QUOTES, Literal, LiteralReader, as_json, from_json, to_json
from mlxknife.domain.tools.rules.nesting import Nesting
from mlxknife.domain.tools.rules.strict_json import ControlEscaper
from mlxknife.domain.tools.values import Tool, ToolCallDelta

_NAME_LIMIT = 128
_NAME = re.compile(rf"[A-Za-z0-9_.\-]{{0,{_NAME_LIMIT}}}")
_SCALAR = re.compile(rf"[A-Za-z0-9_.+\-]{{0,{_NAME_LIMIT}}}")
_JSON_QUOTES = ('"',)
_ARGUMENTS = ("arguments", "parameters")
_OTHER_KEYS = ("id", "type", "index")
"""Fields that models add to a call; their values are not used."""


class CallReader:
    """Reads the calls of one answer."""

    def __init__(self, cursor: Cursor, form: ToolFormat, tools: Sequence[Tool], new_id: Callable[[], str]) -> None:
        """Take the cursor, the format, the tools, and what makes ids."""
        self._cursor = cursor
        self._form = form
        self._tools = {tool.name: tool for tool in tools}
        self._new_id = new_id
        self._types = dict[str, ArgumentTypes]()
        self.count = 0
        """The number of calls that have begun."""
        self.is_last_complete = False
        """Whether the call that has begun last is complete."""
        self._readings = {
            Shape.JSON: self._json,
            Shape.JSON_LIST: lambda: self._list(self._json),
            Shape.NAMED_JSON: self._named_json,
            Shape.XML: self._xml,
            Shape.PYTHON: lambda: self._list(self._python),
            Shape.GEMMA: self._gemma,
        }

    def call(self) -> Reading[None]:
        """Read one call, or the list of all calls where the format has one."""
        yield from self._readings[self._form.shape]()

    def closing(self) -> Reading[None]:
        """Drop what the format has after a call."""
        form = self._form
        call_end = () if form.shape is Shape.XML else form.call_end  # it is part of such a call
        yield from self._cursor.closing(stripped((*call_end, *form.end)))

    def _begun(self, name: str) -> ToolCallDelta:
        self._cursor.drop_taken()
        self.count += 1
        self.is_last_complete = False
        return ToolCallDelta(self.count - 1, self._new_id(), name)

    def _more(self, arguments: str) -> ToolCallDelta:
        self._cursor.drop_taken()
        return ToolCallDelta(self.count - 1, arguments=arguments)

    def _whole(self, name: str, arguments: str) -> Reading[None]:
        yield self._begun(name)
        self.is_last_complete = True
        yield self._more(arguments)

    def _name(self) -> Reading[str]:
        """Take the name of a tool."""
        name = yield from self._cursor.run(_NAME, _NAME_LIMIT)
        return self._known(name)

    def _known(self, name: str) -> str:
        for known in (name, name.removeprefix(self._form.prefix)):
            if known in self._tools:
                return known
        raise NoCall

    def _expect(self, markers: Sequence[str]) -> Reading[None]:
        """Take markers with blanks around them."""
        for marker in stripped(markers):
            yield from self._cursor.blanks()
            if not (yield from self._cursor.literal(marker)):
                raise NoCall
        yield from self._cursor.blanks()

    def _list(self, read: Callable[[], Reading[None]]) -> Reading[None]:
        """Read a list of calls."""
        yield from self._expect(("[",))
        while True:
            yield from read()
            yield from self._cursor.blanks()
            if not (yield from self._cursor.literal(",")):
                break
            yield from self._cursor.blanks()
        yield from self._cursor.closing(("]",))

    def _json(self) -> Reading[None]:
        """Read an object with a name and arguments, in any order."""
        cursor, name, arguments = self._cursor, "", "{}"
        yield from self._expect(("{",))
        while True:
            key = yield from self._string()
            yield from self._expect((":",))
            if key == "name":
                name = self._known((yield from self._string()))
            elif key in _ARGUMENTS and name:
                yield from self._arguments(name)
                yield from self._rest()
                return
            elif key in _ARGUMENTS:
                arguments = yield from self._held_arguments()
            elif key in _OTHER_KEYS:
                yield from self._value()
            else:
                raise NoCall
            yield from cursor.blanks()
            if not (yield from cursor.literal(",")):
                break
            yield from cursor.blanks()
        if not name or not (yield from cursor.literal("}")):
            raise NoCall
        yield from self._whole(name, arguments)

    def _string(self) -> Reading[str]:
        if (yield from self._cursor.peek()) != '"':
            raise NoCall
        text = yield from self._cursor.nested(Nesting(_JSON_QUOTES, has_escapes=True))
        try:
            value: Literal = from_json(text)
        except ValueError as exc:
            raise NoCall from exc
        return value if isinstance(value, str) else ""

    def _value(self) -> Reading[str]:
        """Take any JSON value."""
        opening = yield from self._cursor.peek()
        if opening and opening in '"{[':
            return (yield from self._cursor.nested(Nesting(_JSON_QUOTES, has_escapes=True)))
        return (yield from self._cursor.run(_SCALAR, _NAME_LIMIT))

    def _arguments(self, name: str) -> Reading[None]:
        """Read the arguments of a call whose name is known: an object piece by piece, anything else as a whole."""
        if (yield from self._cursor.peek()) != "{":
            arguments = yield from self._held_arguments()
            yield from self._whole(name, arguments)
            return
        yield self._begun(name)
        nesting, escaper = Nesting(_JSON_QUOTES, has_escapes=True), ControlEscaper()
        while True:
            piece = escaper.feed(self._cursor.piece(nesting))
            self.is_last_complete = nesting.is_closed
            if piece:
                yield self._more(piece)
            if nesting.is_closed or self._cursor.has_ended:
                return
            yield None

    def _held_arguments(self) -> Reading[str]:
        """Take arguments: an object, a string that holds one as JSON, or null. Return the object as JSON."""
        text = yield from self._value()
        try:
            value = from_json(text)
            if isinstance(value, str):
                text = value
                value = from_json(text)
            if value is None:
                return "{}"
            if not isinstance(value, dict):
                raise NoCall
            return as_json(text, value)
        except ValueError as exc:
            raise NoCall from exc

    def _rest(self) -> Reading[None]:
        """Take what an object has after its arguments. Small models forget the last bracket."""
        cursor = self._cursor
        yield from cursor.blanks()
        if (yield from cursor.literal(",")):
            nesting = Nesting(_JSON_QUOTES, has_escapes=True, depth=1)
            while True:
                cursor.piece(nesting)
                cursor.drop_taken()
                if nesting.is_closed or cursor.has_ended:
                    return
                yield None
        yield from cursor.closing(("}",))

    def _named_json(self) -> Reading[None]:
        """Read a name and an object."""
        cursor, form = self._cursor, self._form
        yield from self._expect(form.call_begin)
        name = yield from self._name()
        if form.is_numbered and (yield from cursor.literal(":")):
            yield from cursor.run(_SCALAR, _NAME_LIMIT)
        if form.call_id and (yield from cursor.literal(form.call_id)):
            yield from cursor.run(_NAME, _NAME_LIMIT)
        yield from self._expect(form.name_end)
        yield from self._arguments(name)

    def _xml(self) -> Reading[None]:
        """Read a name and arguments between markers."""
        cursor, form = self._cursor, self._form
        yield from self._expect(form.call_begin)
        name = yield from self._name()
        yield from self._expect(form.name_end)
        (key_begin,), (value_end,) = stripped(form.key_begin), stripped(form.value_end)
        key_end, *before_value = stripped(form.key_end)
        opening = "{"
        while (yield from cursor.is_next(key_begin)):
            if opening == "{":
                yield self._begun(name)
            yield from cursor.literal(key_begin)
            key = (yield from cursor.until(key_end)).strip()
            if before_value:
                yield from cursor.blanks()
                if not (yield from cursor.markers(before_value)):
                    raise NoCall
            text = yield from cursor.until(value_end)
            value = self._typed(name).argument(key, _unpadded(text, form.value_pad))
            yield self._more(f"{opening}{to_json(key)}: {value}")
            opening = ", "
            yield from cursor.blanks()
        if not (yield from self._closes()):
            raise NoCall
        if opening == "{":
            yield from self._whole(name, "{}")
            return
        self.is_last_complete = True
        yield self._more("}")

    def _closes(self) -> Reading[bool]:
        """Take the end of a call, or of all calls, which some answers have instead."""
        for markers in (self._form.call_end, self._form.end):
            for marker in stripped(markers)[:1]:
                if (yield from self._cursor.literal(marker)):
                    return True
        return False

    def _typed(self, name: str) -> ArgumentTypes:
        if name not in self._types:
            self._types[name] = ArgumentTypes(self._tools[name])
        return self._types[name]

    def _python(self) -> Reading[None]:
        """Read a call as Python writes it."""
        name = yield from self._name()
        yield from self._literal_call(name, "()", "=", PYTHON_QUOTES)

    def _gemma(self) -> Reading[None]:
        """Read a name and members in braces."""
        yield from self._expect(self._form.call_begin)
        name = yield from self._name()
        yield from self._literal_call(name, "{}", ":", (self._form.quote,))

    def _literal_call(self, name: str, ends: str, sign: str, quotes: tuple[str, ...]) -> Reading[None]:
        yield from self._cursor.blanks()
        if (yield from self._cursor.peek()) != ends[0]:
            raise NoCall
        has_escapes = quotes is PYTHON_QUOTES
        text = yield from self._cursor.nested(Nesting(quotes, has_escapes=has_escapes))
        try:
            arguments = LiteralReader(text, quotes, has_escapes=has_escapes).members(ends, sign)
        except ValueError as exc:
            raise NoCall from exc
        yield from self._whole(name, to_json(arguments))


def stripped(markers: Sequence[str]) -> list[str]:
    """Return markers without the blanks around them, and without those that are blank."""
    return [marker.strip() for marker in markers if marker.strip()]


def _unpadded(text: str, pad: str) -> str:
    return text.removeprefix(pad).removesuffix(pad)
