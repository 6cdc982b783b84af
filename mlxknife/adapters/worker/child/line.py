"""The child's end of the socket: messages come in, deltas go out at most thirty times a second."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

from mlxknife.adapters.worker.frames import Frames
from mlxknife.adapters.worker.protocol import (
    Heartbeat,
    Load,
    ToChild,
    ToParent,
    answer_messages,
    decode_for_child,
    packed,
)
from mlxknife.domain.engines.values import AnswerEvent
from mlxknife.domain.errors import InternalError
from mlxknife.domain.generation.values.answer import Delta

_CHUNK = 256 * 1024
_INTERVAL = 1 / 30
"""Seconds between two messages with deltas: readers see no difference, and a fast model keeps its processor."""


class Line:
    """Two threads send; one reads. Any thread may wake the reader."""

    def __init__(
        self, connection: socket.socket, interval: float = _INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take a connected socket."""
        self._connection = connection
        self._interval = interval
        self._clock = clock
        self._frames = Frames()
        self._sending = threading.Lock()
        self._held: dict[tuple[int, int], AnswerEvent] = {}
        """Events that wait for the end of the interval, by request and answer."""
        self._sent = 0.0
        """The time of the last message."""
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def first(self) -> Load:
        """Wait for the model to load. Raises ConnectionError, InternalError."""
        while (frame := self._frames.next()) is None:
            self._receive(0)
        message = decode_for_child(frame)
        if not isinstance(message, Load):
            msg = "The first message names no model"
            raise InternalError(msg)
        return message

    def send(self, *messages: ToParent) -> None:
        """Send messages after the events that wait. Raises ConnectionError."""
        events = answer_messages([(key[0], event) for key, event in self._held.items()])
        self._held.clear()
        if events or messages:
            self._write(b"".join(map(packed, (*events, *messages))))

    def hold(self, request_id: int, event: AnswerEvent) -> None:
        """Keep an event for the next message; deltas of the same answer are joined."""
        key = (request_id, event.index)
        before = self._held.get(key)
        if isinstance(before, Delta) and isinstance(event, Delta):
            event = before.followed_by(event)
        self._held[key] = event

    def drop(self, request_id: int) -> None:
        """Forget the events of a cancelled request."""
        for key in [key for key in self._held if key[0] == request_id]:
            del self._held[key]

    def send_when_due(self) -> None:
        """Send the events that wait, once in each interval. Raises ConnectionError.

        Intervals end at the same moments in all processes, so that a server wakes up once for several of them.
        """
        if self._clock() // self._interval > self._sent // self._interval:
            self.send()

    def beat(self, steps: int) -> None:
        """Send a heartbeat, from any thread. Raises ConnectionError."""
        self._write(packed(Heartbeat(steps)))

    def wake(self) -> None:
        """End a wait for messages, from any thread."""
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:  # the pipe is full: the reader will wake up
            return

    def received(self, *, may_wait: bool) -> Iterator[ToChild]:
        """Yield the messages that have arrived; ``may_wait``: wait for one, or for a wake-up, first.

        Raises ConnectionError, InternalError.
        """
        while True:
            while (frame := self._frames.next()) is not None:
                may_wait = False
                yield decode_for_child(frame)
            if may_wait:
                may_wait = False
                self._wait()
            if not self._receive(socket.MSG_DONTWAIT):
                return

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        poll.poll()
        try:
            os.read(self._wake_reader, _CHUNK)
        except BlockingIOError:
            return

    def _receive(self, flags: int) -> bool:
        """Take the bytes that have arrived, and return whether there were any."""
        try:
            data = self._connection.recv(_CHUNK, flags)
        except BlockingIOError:
            return False
        if not data:
            msg = "the other end is closed"
            raise ConnectionResetError(msg)
        self._frames.feed(data)
        return True

    def _write(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)
            self._sent = self._clock()
