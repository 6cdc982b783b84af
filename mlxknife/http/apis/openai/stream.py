"""The framing of OpenAI's streams as server-sent events."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
DONE = b"data: [DONE]\n\n"
"""The last event of a stream without an error."""
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which clients ignore."""
_LINE_ENDS = re.compile(b"|".join(char.encode() for char in "\u0085\u2028\u2029"))


def events(documents: Iterable[msgspec.Struct]) -> bytes:
    """Return documents as events."""
    return b"".join(map(_event, documents))


def error_event(document: msgspec.Struct) -> bytes:
    """Return the event that ends a stream with an error."""
    return b"event: error\n" + _event(document)


def _event(document: msgspec.Struct) -> bytes:
    """Return an event. Characters that some clients take for the end of a line are escaped."""
    data = msgspec.json.encode(document)
    if not data.isascii():
        data = _LINE_ENDS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), data)
    return b"data: %b\n\n" % data
