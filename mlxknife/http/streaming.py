"""A stream of events: its head, what keeps it alive, and how it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import attrs
import msgspec
from starlette.types import Send

Result = TypeVar("Result")

_HEAD = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_DONE = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_LINE_ENDS = re.compile(b"|".join(char.encode() for char in "\u0085\u2028\u2029"))


@attrs.define(eq=False)
class EventStream:
    """What goes to one client. The head goes out with the first thing that is sent: until then an error is a status."""

    send: Send
    silence: float
    """After how many seconds without anything a sign of life is due."""
    has_begun: bool = attrs.field(default=False, init=False)

    async def waiting_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for something, and give a sign of life after each silence. Raises what it raises."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=self.silence))[0]:
                await self.say(b"")
            return task.result()
        finally:
            if task.done():
                _ = task.cancelled() or task.exception()  # somebody looked at it, even where we end for another reason
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            del task  # an error knows this frame: if the frame knew the error too, both would stay until a collection

    async def say(self, data: bytes) -> None:
        """Send what there is; where there is nothing, a comment that nobody shows."""
        await self._send(data or _KEEP_ALIVE, more=True)

    async def end(self, data: bytes) -> None:
        """Send the last of it, and the mark of a good end."""
        await self._send(data + _DONE, more=False)

    async def break_off(self, data: bytes, error: msgspec.Struct) -> None:
        """Send the last of it, and an event that says why it is the last; there is no mark of a good end."""
        await self._send(data + b"event: error\n" + event_bytes(error), more=False)

    async def _send(self, data: bytes, *, more: bool) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self.send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
        await self.send({"type": "http.response.body", "body": data, "more_body": more})


def events_bytes(events: Iterable[msgspec.Struct]) -> bytes:
    """Return events of a stream."""
    return b"".join(map(event_bytes, events))


def event_bytes(event: msgspec.Struct) -> bytes:
    """Return an event of a stream. What some clients take for the end of a line is escaped."""
    data = msgspec.json.encode(event)
    if not data.isascii():
        data = _LINE_ENDS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), data)
    return b"data: %b\n\n" % data
