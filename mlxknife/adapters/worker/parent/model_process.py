"""Model processes on the running asyncio loop, without a thread on this side."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar, cast

import attrs

from mlxknife.adapters.worker.parent.channel import Channel
from mlxknife.adapters.worker.parent.heartbeat import HeartbeatLimits, HeartbeatMonitor
from mlxknife.adapters.worker.parent.process import SpawnedWorker, exit_description
from mlxknife.adapters.worker.protocol import (
    AnswerMessage,
    Cancel,
    Deltas,
    Embeddings,
    Heartbeat,
    Load,
    Loaded,
    LoadFailed,
    Pause,
    RequestAccepted,
    RequestFailed,
    Resume,
    Scores,
    ToParent,
    packed,
    request_message,
)
from mlxknife.domain.engines.values import Accepted, AnswerEvent, EngineKind, Event, Request
from mlxknife.domain.errors import EngineError, KnifeError, StorageError, ValidationError, WorkerLost
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.hints import HintCode
from mlxknife.ports.engines.processes import ModelProcess

_DEFAULT_LIMITS = HeartbeatLimits()
_MAX_TAIL = 500

OnState: TypeAlias = Callable[[ModelLoaded | KnifeError], None]
EventT = TypeVar("EventT", bound=Event)
OnEvent: TypeAlias = Callable[[EventT | KnifeError], None]


class WorkerProcesses:
    """Starts model processes. Call it on a running loop; every callback comes from that loop."""

    def __init__(
        self,
        command: Sequence[str],
        limits: HeartbeatLimits = _DEFAULT_LIMITS,
        temporary_folder: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take the command that runs ``child.loop.serve``, and when a process counts as hung.

        The number of a descriptor, the id of this process and a kind other than text are appended to the command.
        ``temporary_folder`` returns the folder for temporary files, None for that of this process. It raises
        StorageError or AccessDenied.
        """
        self.command = tuple(command)
        self._limits = limits
        self._temporary_folder = temporary_folder

    def start(self, on_state: OnState, likely: EngineKind = EngineKind.TEXT) -> ModelProcess:
        """See ``ModelProcesses.start``."""
        try:
            temporary = self._temporary_folder()
            ours, theirs = socket.socketpair()
        except StorageError as exc:
            return _FailedProcess(exc, on_state)
        except OSError as exc:
            return _FailedProcess(_start_error(exc), on_state)
        with theirs:
            try:
                process = SpawnedWorker(self.command, theirs.fileno(), temporary, likely)
            except OSError as exc:
                ours.close()
                return _FailedProcess(_start_error(exc), on_state)
        return WorkerProcess(process, ours, self._limits, on_state)


def _start_error(exc: OSError) -> EngineError:
    error = EngineError(
        f"No process could be started for the model: {exc.strerror or exc}", hint=HintCode.PROCESS_LIMIT
    )
    error.__cause__ = exc
    return error


@attrs.define(eq=False)
class _Request:
    on_event: OnEvent[Event]
    answers: int
    """The number of answers that have not ended."""


class WorkerProcess:
    """See ``ModelProcess``. It is open until it is closed or has crashed; then it calls nothing any more."""

    def __init__(
        self, process: SpawnedWorker, connection: socket.socket, limits: HeartbeatLimits, on_state: OnState
    ) -> None:
        """Take a process that was just started, and the socket to it."""
        self._process = process
        self._limits = limits
        self._on_state = on_state
        self._is_open = True
        self._requests: dict[int, _Request] = {}
        self._next_id = 0
        self._channel = Channel(connection, self._receive, self._lost)
        self._monitor = HeartbeatMonitor(limits, self._read, self._crash)

    @property
    def process_id(self) -> int | None:
        """See ``ModelProcess.process_id``."""
        return self._process.id

    def load(self, request: LoadRequest) -> None:
        """See ``ModelProcess.load``."""
        if self._is_open:
            self._monitor.start()
            self._channel.send(packed(Load.of(request, self._limits.interval)))

    def submit(self, request: Request[EventT], on_event: OnEvent[EventT]) -> int:
        """See ``ModelProcess.submit``."""
        self._next_id += 1
        request_id = self._next_id
        if not self._is_open:
            return request_id
        try:
            message = packed(request_message(request_id, request))
        except ValidationError as exc:
            error = exc
        except OverflowError:
            error = ValidationError("The request is too long to be sent to the model")
        else:
            self._requests[request_id] = _Request(cast("OnEvent[Event]", on_event), request.answer_count)
            self._note_requests()
            self._channel.send(message)
            return request_id
        asyncio.get_running_loop().call_soon(on_event, error)
        return request_id

    def cancel(self, request_id: int) -> None:
        """See ``ModelProcess.cancel``."""
        if self._requests.pop(request_id, None) is not None:
            self._note_requests()
            self._channel.send(packed(Cancel(request_id)))

    def pause(self) -> None:
        """See ``ModelProcess.pause``."""
        if self._is_open:
            self._monitor.busy(is_busy=False)
            self._channel.send(packed(Pause()))

    def resume(self) -> None:
        """See ``ModelProcess.resume``."""
        if self._is_open:
            self._note_requests()
            self._channel.send(packed(Resume()))

    def close(self) -> None:
        """See ``ModelProcess.close``."""
        if self._is_open:
            self._release()
            self._process.kill()

    def _receive(self, message: ToParent) -> None:
        self._monitor.message()
        match message:
            case Heartbeat(steps):
                self._monitor.steps(steps)
            case Loaded(seconds, notes):
                self._monitor.loaded()
                self._on_state(ModelLoaded(seconds, notes))
            case LoadFailed(error):
                self._crash(error.error())
            case _:
                self._receive_events(message)

    def _receive_events(self, message: AnswerMessage | RequestAccepted | RequestFailed) -> None:
        match message:
            case Deltas(items) | Embeddings(items) | Scores(items):
                for request_id, event in items:
                    self._answer_event(request_id, event)
                self._note_progress()
            case RequestAccepted(request_id, prompt_tokens):
                self._note_progress()
                if request_id in self._requests:
                    self._requests[request_id].on_event(Accepted(prompt_tokens))
            case RequestFailed(request_id, error):
                failed = self._requests.pop(request_id, None)
                self._note_progress()
                if failed is not None:
                    failed.on_event(error.error())

    def _answer_event(self, request_id: int, event: AnswerEvent) -> None:
        request = self._requests.get(request_id)
        if request is None:  # cancelled while it was on its way
            return
        if event.ends_answer:
            request.answers -= 1
            if not request.answers:
                del self._requests[request_id]
        request.on_event(event)

    def _note_progress(self) -> None:
        self._monitor.progress()
        self._note_requests()

    def _note_requests(self) -> None:
        self._monitor.busy(is_busy=bool(self._requests))

    def _read(self) -> None:
        """Read what has arrived, so that a process is not blamed for messages that were not read."""
        self._process.allow_more_output()
        self._channel.read()

    def _lost(self, error: KnifeError | None) -> None:
        """Find out how the process ended."""
        self._monitor.close()
        self._channel.close()
        self._process.kill(lambda status: self._crash(error or self._crash_error(status)))

    def _crash(self, error: KnifeError) -> None:
        if not self._is_open:
            return
        requests = list(self._requests.values())
        self._release()
        self._process.kill()
        for request in requests:
            request.on_event(error)
        self._on_state(error)

    def _release(self) -> None:
        self._is_open = False
        self._requests.clear()
        self._monitor.close()
        self._channel.close()

    def _crash_error(self, status: int | None) -> WorkerLost:
        output = self._process.output_tail()
        msg = f"The model process {exit_description(status)}"
        last = output.rpartition("\n")[2]
        if len(last) > _MAX_TAIL:  # cut at a blank: half a token could not be recognised and redacted
            last = last[-_MAX_TAIL:].partition(" ")[2]
        if last:
            msg += f"; its last output: {last}"
        hint = HintCode.RETRY_STARTS_PROCESS
        if status == -signal.SIGKILL:
            hint = HintCode.KILLED_FOR_MEMORY
        elif resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            hint = HintCode.MEMORY_LIMIT
        error = WorkerLost(msg, hint=hint)
        if output:
            error.add_note(output)
        return error


class _FailedProcess:
    """A process that could not be started, which is reported later like everything else."""

    process_id = None

    def __init__(self, error: KnifeError, on_state: OnState) -> None:
        self._report = asyncio.get_running_loop().call_soon(on_state, error)

    def load(self, request: LoadRequest) -> None:
        """See ``ModelProcess.load``."""

    def submit(self, request: Request[EventT], on_event: OnEvent[EventT]) -> int:
        """See ``ModelProcess.submit``."""
        del request, on_event
        return 0

    def cancel(self, request_id: int) -> None:
        """See ``ModelProcess.cancel``."""

    def pause(self) -> None:
        """See ``ModelProcess.pause``."""

    def resume(self) -> None:
        """See ``ModelProcess.resume``."""

    def close(self) -> None:
        """See ``ModelProcess.close``."""
        self._report.cancel()
