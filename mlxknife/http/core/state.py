"""The state of one application: the services behind it, the running requests, and how they end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs
from starlette.types import Receive

from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModels
from mlxknife.domain.serving.values import ModelCrashed, PoolEvent
from mlxknife.domain.text.rules.redaction import redacted
from mlxknife.http.core import logs
from mlxknife.http.core.errors import ClientDisconnected, ServerStopping
from mlxknife.http.core.limits import Admission, BodyBudget
from mlxknife.http.core.metrics import Metrics
from mlxknife.http.core.streaming import UnreadBudget
from mlxknife.http.options import Options

Result = TypeVar("Result")

_THREADS = 4
_TICK_SECONDS = 1.0
_SMALL_BODY = 16 * 1024
"""Bytes. Decoding these takes a few milliseconds, whatever they are."""


@attrs.define(eq=False)
class ServerState:
    """What all requests of one application share. It works on the event loop that calls it."""

    servable: ServableModels
    pool: ModelPool
    options: Options
    metrics: Metrics = attrs.field(factory=Metrics, init=False)
    admission: Admission = attrs.field(init=False)
    bodies: BodyBudget = attrs.field(init=False)
    unread: UnreadBudget = attrs.field(init=False)
    _work: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)
    _threads: ThreadPoolExecutor = attrs.field(init=False)
    _body_thread: ThreadPoolExecutor = attrs.field(init=False)
    """It decodes large bodies, one at a time: a decoder holds the interpreter, and several would do so in turns."""
    _ticker: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _listing: asyncio.Task[tuple[ModelInfo, ...]] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the limits, and report what happens to models."""
        self.admission = Admission(self.options.max_requests, self.metrics.request_refused)
        self.bodies = BodyBudget(self.options)
        self.unread = UnreadBudget(self.options.max_unread_bytes)
        self._threads = ThreadPoolExecutor(_THREADS, "mlxknife-http")
        self._body_thread = ThreadPoolExecutor(1, "mlxknife-http-body")
        self.pool.on_event = self.report

    @property
    def is_stopping(self) -> bool:
        """Return whether no more requests are admitted."""
        return self.admission.is_closed

    async def in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Call a function that blocks in a thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def decoded(self, decode: Callable[[bytes], Result], body: bytes) -> Result:
        """Decode a body: a small one at once, a large one in a thread beside the event loop. Raises what that does."""
        if len(body) <= _SMALL_BODY:
            return decode(body)
        return await asyncio.get_running_loop().run_in_executor(self._body_thread, decode, body)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return the models that can run; simultaneous callers share one listing. Raises StorageError."""
        loop = asyncio.get_running_loop()
        if self._listing is None or self._listing.done() or self._listing.get_loop() is not loop:
            self._listing = loop.create_task(self.in_thread(self.servable.models, self.pool.back_off.unloadable))
        return await asyncio.shield(self._listing)

    async def run_until_disconnect(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Run the work of a request, and cancel it when its client disconnects or the server ends its requests.

        Raises ClientDisconnected or ServerStopping in these cases, and whatever the work raises.
        """
        task = asyncio.create_task(work)
        disconnect = asyncio.create_task(_until_disconnect(receive))
        self._work.add(task)
        try:
            await asyncio.wait((task, disconnect), return_when=asyncio.FIRST_COMPLETED)
            has_disconnected = disconnect.done()
        finally:
            self._work.discard(task)
            task.cancel()
            disconnect.cancel()
            await asyncio.gather(task, disconnect, return_exceptions=True)
        try:
            if task.cancelled():
                raise ClientDisconnected if has_disconnected else ServerStopping
            task.result()
        finally:
            del task  # the traceback refers to this frame: a reference back would keep the whole request alive

    def redact(self, text: str) -> str:
        """Return a text without the API key, other tokens and home folders."""
        secrets = () if self.options.api_key is None else (self.options.api_key,)
        return redacted(text, secrets, (os.path.expanduser("~"),))

    def report(self, event: PoolEvent) -> None:
        """Log what happens to a model, and count the crashes of its process."""
        if isinstance(event, ModelCrashed):
            self.metrics.worker_crashed(event.name)
        logs.model_event(event)

    def start_ticking(self) -> None:
        """Call ``pool.tick`` regularly on the running loop; a mounted application has no start-up event."""
        loop = asyncio.get_running_loop()
        if self._ticker is None or self._ticker.done() or self._ticker.get_loop() is not loop:
            self._ticker = loop.create_task(self._tick())

    def stop_admitting(self) -> None:
        """Refuse new requests; those that run may finish."""
        self.admission.is_closed = True

    def end_requests(self) -> None:
        """Refuse new requests, and end those that run with the error ServerStopping."""
        self.stop_admitting()
        for task in list(self._work):
            task.cancel()

    def close(self) -> None:
        """Refuse new requests and unload all models; a second call does nothing."""
        self.stop_admitting()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for threads in (self._threads, self._body_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        self.pool.close()

    async def _tick(self) -> None:
        while True:
            self.pool.tick()
            await asyncio.sleep(_TICK_SECONDS)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
