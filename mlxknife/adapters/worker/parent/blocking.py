"""Blocking clients of model processes, for callers without an asyncio loop, or inside a running one.

One background thread runs a loop for all of them, so that any thread may call and no caller's loop is needed.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TypeVar

from mlxknife.domain.engines.values import EngineKind, Event, Request
from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.hints import HintCode
from mlxknife.ports.engines.processes import ModelClient, ModelProcess, ModelProcesses

EventT = TypeVar("EventT", bound=Event)
Result = TypeVar("Result")

_CLOSE_SECONDS = 5.0


class BlockingClients:
    """See ``ModelClients``."""

    def __init__(self, processes: ModelProcesses, likely: EngineKind = EngineKind.TEXT) -> None:
        """Take what starts model processes on a running loop, and the kind of models that they will load."""
        self._processes = processes
        self._likely = likely
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = 0
        """The process that has the thread of the loop: a fork has the loop, but not the thread."""

    def start(self) -> ModelClient:
        """See ``ModelClients.start``."""
        return BlockingClient(self._running_loop(), self._processes, self._likely)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process_id != os.getpid():
                try:
                    loop = asyncio.new_event_loop()
                    threading.Thread(target=loop.run_forever, name="mlxknife-models", daemon=True).start()
                except (RuntimeError, OSError) as exc:
                    msg = f"No process could be started for the model: {exc}"
                    raise EngineError(msg, hint=HintCode.PROCESS_LIMIT) from exc
                self._loop, self._process_id = loop, os.getpid()
            return self._loop


class BlockingClient:
    """See ``ModelClient``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, processes: ModelProcesses, likely: EngineKind) -> None:
        """Start a process on a loop that runs in another thread."""
        self._loop = loop
        self._loaded: Future[ModelLoaded] = Future()
        self._error: KnifeError | None = None
        """Why the process has ended; set on the loop."""
        self._failures = set[Callable[[KnifeError], None]]()
        """They pass an error to the requests in flight."""
        self._started = self._call(lambda: processes.start(self._on_state, likely))

    def load(self, request: LoadRequest) -> ModelLoaded:
        """See ``ModelClient.load``."""
        process = self._started.result()
        self._call(lambda: process.load(request)).result()
        return self._loaded.result()

    def submit(self, request: Request[EventT]) -> Generator[EventT]:
        """See ``ModelClient.submit``."""
        events: queue.SimpleQueue[EventT | KnifeError] = queue.SimpleQueue()
        process = self._started.result()
        submitted = self._call(lambda: self._submit(process, request, events.put))
        submitted.result()  # raises what a request that cannot be sent raises
        answers = request.answer_count
        try:
            while answers:
                event = events.get()
                if isinstance(event, KnifeError):
                    answers = 0
                    raise event
                if event.ends_answer:
                    answers -= 1
                yield event
        finally:
            self._call(lambda: self._end(process, submitted, events.put, is_cancelled=bool(answers)))

    def pause(self) -> None:
        """See ``ModelClient.pause``."""
        process = self._started.result()
        self._call(process.pause).result()

    def resume(self) -> None:
        """See ``ModelClient.resume``."""
        process = self._started.result()
        self._call(process.resume)

    def close(self) -> None:
        """See ``ModelClient.close``."""
        process = self._started.result()
        self._call(lambda: self._close(process)).result(_CLOSE_SECONDS)

    def _call(self, work: Callable[[], Result]) -> Future[Result]:
        """Call something on the loop."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as exc:  # noqa: BLE001 - the caller's thread raises it
                done.set_exception(exc)

        self._loop.call_soon_threadsafe(run)
        return done

    def _submit(
        self,
        process: ModelProcess,
        request: Request[EventT],
        on_event: Callable[[EventT | KnifeError], None],
    ) -> int:
        if self._error is not None:
            on_event(self._error)
            return 0
        self._failures.add(on_event)
        return process.submit(request, on_event)

    def _end(
        self,
        process: ModelProcess,
        submitted: Future[int],
        on_event: Callable[[KnifeError], None],
        *,
        is_cancelled: bool,
    ) -> None:
        self._failures.discard(on_event)
        if is_cancelled:
            process.cancel(submitted.result())

    def _close(self, process: ModelProcess) -> None:
        process.close()
        self._on_state(EngineError("The model is closed", hint=HintCode.REOPEN_MODEL))

    def _on_state(self, state: ModelLoaded | KnifeError) -> None:
        if isinstance(state, ModelLoaded):
            self._loaded.set_result(state)
            return
        if self._error is None:
            self._error = state
        if not self._loaded.done():
            self._loaded.set_exception(state)
        for fail in self._failures:
            fail(state)
        self._failures.clear()
