"""The parent's end of the socket to a model process, on the running asyncio loop: no call ever waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from mlxknife.adapters.worker.frames import Frames
from mlxknife.adapters.worker.protocol import ToParent, decode_for_parent
from mlxknife.domain.errors import InternalError

_CHUNK = 256 * 1024


class Channel:
    """Sends messages and passes on the received ones."""

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[ToParent], None],
        on_end: Callable[[InternalError | None], None],
    ) -> None:
        """Take a connected socket.

        ``on_message`` is called with each message; ``on_end`` once, with an error if an invalid message was received.
        """
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._frames = Frames()
        self._outgoing = bytearray()
        self._is_open = True
        connection.settimeout(0)
        self._loop.add_reader(connection, self.read)

    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as the other side reads."""
        if not self._is_open:
            return
        was_empty = not self._outgoing
        self._outgoing += data
        if was_empty:
            self._write()
            if self._outgoing and self._is_open:
                self._loop.add_writer(self._connection, self._write)

    def read(self) -> None:
        """Pass on the messages that have arrived."""
        if not self._is_open:
            return
        try:
            data = self._connection.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(None)
            return
        self._frames.feed(data)
        while self._is_open:
            try:
                frame = self._frames.next()
                message = None if frame is None else decode_for_parent(frame)
            except InternalError as exc:
                self._end(exc)
                return
            if message is None:
                return
            self._on_message(message)

    def close(self) -> None:
        """Close the socket. Closing twice is allowed."""
        if not self._is_open:
            return
        self._is_open = False
        self._outgoing.clear()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
        self._connection.close()

    def _write(self) -> None:
        try:
            while self._outgoing:
                sent = self._connection.send(memoryview(self._outgoing)[:_CHUNK])
                del self._outgoing[:sent]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the process is gone; its last messages are still to be read
            self._outgoing.clear()
        self._loop.remove_writer(self._connection)

    def _end(self, error: InternalError | None) -> None:
        self.close()
        self._on_end(error)
