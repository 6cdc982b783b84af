"""The main loop of a model process: it loads one model, and then runs steps as long as requests run."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Container
from contextlib import nullcontext

import attrs

from mlxknife.adapters.worker.child.heartbeat import (
    Deadline,
    HeartbeatThread,
    exit_if_orphaned,
    ignore_terminal_signals,
)
from mlxknife.adapters.worker.child.line import Line
from mlxknife.adapters.worker.error_frame import ErrorFrame
from mlxknife.adapters.worker.protocol import (
    Cancel,
    Embed,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Pause,
    RequestAccepted,
    RequestFailed,
    RequestMessage,
    Rerank,
    Resume,
    ToChild,
)
from mlxknife.domain.errors import EngineError, InternalError, KnifeError, ModelNotRunnable
from mlxknife.domain.hints import HintCode
from mlxknife.ports.engines.engine import AnyEngine, EngineOpener

PREPARATION_SECONDS = 10.0
"""The limit for tokenizing one request. The renderer of templates has the same."""
_PREPARING_THREADS = 4
_MACHINE_HINTS = (HintCode.FREE_MEMORY, HintCode.PROCESS_LIMIT, HintCode.KERNEL_FOLDER)
"""The hints of errors that the machine causes, not the files of the model."""
_LONG_REQUEST = 256 * 1024
"""Bytes."""


def serve(descriptor: int, parent: int, opener: EngineOpener) -> int:
    """Run the model process at one end of a socket until the other end is closed; return the exit status.

    ``descriptor`` is the socket, ``parent`` the process id of the parent.
    """
    ignore_terminal_signals()
    exit_if_orphaned(parent)
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - a child of this process must not keep the socket open
    connection = socket.socket(fileno=descriptor)
    try:
        opener.prepare()
        _serve(Line(connection), parent, opener)
    except (ConnectionError, InternalError):  # the parent is gone, or sends what is no message
        return 1
    finally:
        connection.detach()  # the exit closes it: a traceback is written before the parent sees the end
    return 0


def _serve(line: Line, parent: int, opener: EngineOpener) -> None:
    load = line.first()
    deadline = Deadline("Tokenizing a prompt", PREPARATION_SECONDS)
    counter = StepCounter()
    heartbeat = HeartbeatThread(lambda: line.beat(counter.count), load.heartbeat, parent, deadline)
    heartbeat.start()
    try:
        began = time.monotonic()
        try:
            engine = opener.open(load.request())
        except KnifeError as exc:
            line.send(LoadFailed(ErrorFrame.of(_load_error(exc))))
            return
        line.send(Loaded(time.monotonic() - began, engine.notes))
        Loop(line, engine, deadline, counter).run()
    finally:
        heartbeat.stop()


def _load_error(error: KnifeError) -> KnifeError:
    """Return an error of loading. Where the runtime refuses the files, the model cannot run here.

    A lack of memory, descriptors or processes says nothing about the model: the next try may load it.
    """
    is_of_machine = error.hint is not None and error.hint.code in _MACHINE_HINTS
    if is_of_machine or not isinstance(error, EngineError):
        return error
    return ModelNotRunnable(error.message, hint=error.hint)


@attrs.define
class StepCounter:
    """The number of steps so far; the parent tells a hanging step from a slow answer by it."""

    count: int = 0


class Loop:
    """Reads messages, submits prepared requests, and runs steps."""

    def __init__(self, line: Line, engine: AnyEngine, deadline: Deadline, steps: StepCounter) -> None:
        """Take the socket, the loaded engine, the deadline of preparations, and the step counter."""
        self._line = line
        self._engine = engine
        self._steps = steps
        self._preparing = set[int]()
        """The requests that are being prepared and are not cancelled."""
        self._preparation = Preparation(engine, deadline, line.wake, self._preparing)
        self._answering = set[tuple[int, int]]()
        """The answers of which an event has been sent, by request and index."""
        self._is_paused = False

    def run(self) -> None:
        """Run until the parent closes the socket, which raises ConnectionError."""
        while True:
            may_wait = self._is_paused or self._engine.is_idle
            has_news = False
            for message in self._line.received(may_wait=may_wait and not self._preparation.has_finished):
                has_news = True
                self._handle(message)
            for request_id, prepared in self._preparation.finished():
                has_news = True
                self._submit(request_id, prepared)
            if has_news:  # the next step may prefill a prompt, which takes long
                self._line.send()
            if not self._is_paused and not self._engine.is_idle:
                self._step()

    def _handle(self, message: ToChild) -> None:
        match message:
            case Generate() | Embed() | Rerank():
                self._preparing.add(message.id)
                self._preparation.start(message)
            case Cancel(request_id):
                self._preparing.discard(request_id)
                self._engine.cancel(request_id)
                self._forget(request_id)
            case Pause():
                self._is_paused = True
            case Resume():
                self._is_paused = False
            case Load():
                msg = "A model is loaded already"
                raise InternalError(msg)

    def _submit(self, request_id: int, prepared: object) -> None:
        if request_id not in self._preparing:
            return
        self._preparing.discard(request_id)
        if isinstance(prepared, KnifeError):
            self._fail(request_id, prepared)
            return
        try:
            accepted = self._engine.submit(request_id, prepared)
        except KnifeError as exc:
            self._fail(request_id, exc)
            return
        self._line.send(RequestAccepted(request_id, accepted.prompt_tokens))

    def _step(self) -> None:
        """Run one step. The first and the last event of an answer are sent at once."""
        is_urgent = False
        for request_id, event in self._engine.step():
            if isinstance(event, KnifeError):
                self._fail(request_id, event)
                continue
            key = (request_id, event.index)
            self._line.hold(request_id, event)
            if event.ends_answer:
                self._answering.discard(key)
                is_urgent = True
            elif key not in self._answering:
                self._answering.add(key)
                is_urgent = True
        self._steps.count += 1
        if is_urgent or self._engine.is_idle:
            self._line.send()
        else:
            self._line.send_when_due()

    def _fail(self, request_id: int, error: KnifeError) -> None:
        self._line.send(RequestFailed(request_id, ErrorFrame.of(error)))
        self._forget(request_id)

    def _forget(self, request_id: int) -> None:
        self._line.drop(request_id)
        self._answering = {key for key in self._answering if key[0] != request_id}


class Preparation:
    """Renders and tokenizes requests in threads, beside the steps."""

    def __init__(
        self,
        engine: AnyEngine,
        deadline: Deadline,
        on_finished: Callable[[], None],
        uncancelled: Container[int],
    ) -> None:
        """Take the engine and the deadline for tokenizing.

        ``on_finished`` is called when a request is ready; ``uncancelled`` has the requests that still need preparation.
        """
        self._engine = engine
        self._deadline = deadline
        self._on_finished = on_finished
        self._uncancelled = uncancelled
        self._long_request = threading.Lock()
        """One long request at a time: several would share the processors, and miss the deadline together."""
        self._waiting: queue.SimpleQueue[RequestMessage] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        for number in range(_PREPARING_THREADS):
            threading.Thread(target=self._work, name=f"prepare-{number}", daemon=True).start()

    @property
    def has_finished(self) -> bool:
        """Whether a request is ready."""
        return not self._finished.empty()

    def start(self, message: RequestMessage) -> None:
        """Prepare a request, as soon as a thread is free."""
        self._waiting.put(message)

    def finished(self) -> list[tuple[int, object]]:
        """Return the requests that are ready by now, each with its id, or why it cannot be."""
        finished = list[tuple[int, object]]()
        while not self._finished.empty():
            finished.append(self._finished.get())
        return finished

    def _work(self) -> None:
        while True:
            message = self._waiting.get()
            if message.id not in self._uncancelled:
                continue
            self._finished.put((message.id, self._prepared(message)))
            self._on_finished()

    def _prepared(self, message: RequestMessage) -> object:
        try:
            request = message.request()
            rendered = self._engine.render(request)
            is_long = memoryview(message.content).nbytes > _LONG_REQUEST
            with self._long_request if is_long else nullcontext(), self._deadline.watched():
                return self._engine.tokenize(request, rendered)
        except KnifeError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a defect costs this request, and the error says what it was
            error = InternalError(f"The request could not be prepared: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            return error
