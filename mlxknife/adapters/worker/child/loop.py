"""The process that hosts one model: it loads it, and then steps as long as rows run."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from mlxknife.adapters.worker.child.heartbeat import Heart, settle
from mlxknife.adapters.worker.protocol import (
    Ask,
    Beat,
    Drop,
    Failed,
    Frames,
    Ready,
    Start,
    Stepped,
    ToChild,
    Trouble,
    for_child,
    packed,
)
from mlxknife.domain.errors import EngineError, InternalError, KnifeError
from mlxknife.domain.hints import HintCode
from mlxknife.ports.engines.batches import Batches
from mlxknife.ports.engines.loaders import Loader

_CHUNK = 256 * 1024
_PAUSE = 1 / 30
"""Seconds between the moments at which steps go out: no reader sees them pass, and a fast model has the processor."""


def serve(descriptor: int, parent: int, loader: Loader) -> int:
    """Host the model that the other end of a socket names, until that end is closed; return an exit status."""
    settle(parent)
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - what this process starts shall not hold its end open
    connection = socket.socket(fileno=descriptor)
    try:
        _serve(_Line(connection), parent, loader)
    except (ConnectionError, InternalError):  # the parent is gone, or talks nonsense
        return 1
    finally:
        connection.detach()  # it closes with the process: what went wrong is written down before the other end sees it
    return 0


def _serve(line: _Line, parent: int, loader: Loader) -> None:
    start = line.first()
    heart = Heart(line.beat, start.beat, parent)
    heart.start()
    try:
        batches = _loaded(line, start, loader)
        if batches is not None:
            _run(line, batches)
    finally:
        heart.stop()


def _loaded(line: _Line, start: Start, loader: Loader) -> Batches | None:
    began = time.monotonic()
    try:
        batches, model = loader.load(start.location(), start.profile, start.free)
        try:
            message = packed(Ready(model, time.monotonic() - began))
        except (OverflowError, UnicodeError) as exc:
            msg = f"The tokenizer or the template of this model cannot be served: {exc}"
            raise EngineError(msg, hint=HintCode.USE_RUN) from exc
    except KnifeError as exc:
        line.send(packed(Failed(Trouble.of(exc))))
        return None
    line.send(message)
    return batches


def _run(line: _Line, batches: Batches) -> None:
    """Step for ever; ConnectionError is the way out. The first and the last token of a row wait for no pause."""
    speaking = set[int]()  # the rows of the last step that had any
    while True:
        news = False
        for message in line.arrived(may_wait=batches.is_idle):
            news = True
            trouble = _heeded(batches, message)
            if trouble is not None:
                line.send(packed(trouble))
        if news:  # a step that begins to read a prompt takes long
            line.flush()
        if not batches.is_idle:
            step = batches.step()
            rows = {row.row for row in step.steps}
            is_end = bool(step.errors) or any(row.ended is not None for row in step.steps)
            line.tell(packed(Stepped.of(step)), at_once=is_end or not rows <= speaking or batches.is_idle)
            speaking = rows or speaking


def _heeded(batches: Batches, message: ToChild) -> Stepped | None:
    """Do what a message says; return what there is to tell of it at once."""
    match message:
        case Ask(row):
            try:
                batches.admit(row)
            except KnifeError as exc:
                return Stepped.refusing(row.id, exc)
        case Drop(row_id):
            batches.cancel(row_id)
        case Start():
            msg = "A model is loaded already"
            raise InternalError(msg)
    return None


class _Line:
    """The child's end of the socket. Two threads send; one reads."""

    def __init__(
        self, connection: socket.socket, pause: float = _PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._pause = pause
        self._clock = clock
        self._frames = Frames()
        self._sending = threading.Lock()
        self._beat = packed(Beat())
        self._told: list[bytes] = []
        """What is to go out with the next message."""
        self._sent = 0.0
        """When the last one went out."""

    def first(self) -> Start:
        """Wait for what is to be loaded; what came behind it stays. Raises ConnectionError, InternalError."""
        while (frame := self._frames.next()) is None:
            self._receive(0)
        message = for_child(frame)
        if not isinstance(message, Start):
            msg = "No model was named"
            raise InternalError(msg)
        return message

    def send(self, data: bytes) -> None:
        """Send it all. Raises ConnectionError."""
        with self._sending:
            self._connection.sendall(b"".join((*self._told, data)))
            self._told.clear()
            self._sent = self._clock()

    def tell(self, data: bytes, *, at_once: bool) -> None:
        """Send it at the end of a pause, together with what came in it. Raises ConnectionError.

        Pauses end at the same moments in all processes, whenever they began.
        """
        if at_once or self._clock() // self._pause > self._sent // self._pause:
            self.send(data)
        else:
            with self._sending:
                self._told.append(data)

    def flush(self) -> None:
        """Send what is to go out. Raises ConnectionError."""
        if self._told:
            self.send(b"")

    def beat(self) -> None:
        """Give a sign of life. Raises ConnectionError."""
        self.send(self._beat)

    def arrived(self, *, may_wait: bool) -> Iterator[ToChild]:
        """Yield what has come; where it may wait, at least one message. Raises ConnectionError, InternalError."""
        count = 0
        while True:
            while (frame := self._frames.next()) is not None:
                count += 1
                yield for_child(frame)
            if not self._receive(0 if may_wait and not count else socket.MSG_DONTWAIT):
                return

    def _receive(self, flags: int) -> bool:
        """Take what is there, and tell whether there was anything."""
        try:
            data = self._connection.recv(_CHUNK, flags)
        except BlockingIOError:
            return False
        if not data:
            msg = "the other end is closed"
            raise ConnectionResetError(msg)
        self._frames.feed(data)
        return True
