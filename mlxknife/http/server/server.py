"""Running the application in a process of its own: start, signals, graceful shutdown and exit codes."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from starlette.applications import Starlette

from mlxknife.http.core import logs
from mlxknife.http.core.state import ServerState
from mlxknife.http.options import Options
from mlxknife.http.server.protocol import LimitedProtocol
from mlxknife.http.server.sockets import accept_batch, allow_connections, listen, url

_BACKLOG = 2048
"""Connections that the system holds until they are accepted."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNAL_EXIT = 128
_END_SECONDS = 2.0
"""The time for requests that were ended to send their error."""
_POLL_SECONDS = 0.02
_GC_THRESHOLD = 20_000
"""New objects between two garbage collections; the default would collect several times for one large request."""


def serve(
    create: Callable[[Options], Starlette], options: Options, on_ready: Callable[[str], None] | None = None
) -> int:
    """Serve until a signal; return the exit code: 130 after SIGINT, 0 after SIGTERM or SIGHUP.

    ``create`` is called on the event loop that runs the application, ``on_ready`` with the URL once it is served.
    A second signal ends the server at once; the exit code is then 128 and its number.

    Raises ValidationError, AccessDenied or StorageError where the address cannot be used.
    """
    sockets = listen(options.host, options.port)
    logs.set_up(options)
    try:
        with asyncio.Runner() as runner:
            return runner.run(_serve(create, options, sockets, on_ready))
    finally:
        for one in sockets:
            one.close()


async def _serve(
    create: Callable[[Options], Starlette],
    options: Options,
    sockets: list[socket.socket],
    on_ready: Callable[[str], None] | None,
) -> int:
    app = create(options)
    gc.freeze()  # the application lives as long as the process, so no collection needs to traverse it
    gc.set_threshold(_GC_THRESHOLD)
    server = Server(app, url(sockets), on_ready)
    try:
        await server.serve(sockets=sockets)
    finally:
        await server.lifespan.shutdown()  # uvicorn leaves it out after a second signal; a second call does nothing
        server.state.close()
    return server.exit_code


class Server(uvicorn.Server):
    """uvicorn's server, with the shutdown of this product."""

    def __init__(self, app: Starlette, address: str, on_ready: Callable[[str], None] | None) -> None:
        """Prepare to serve an application that ``create_app`` made."""
        self.state: ServerState = app.state.server
        self.address = address
        self.on_ready = on_ready
        self.signals: list[int] = []
        options = self.state.options
        protocol = partial(
            LimitedProtocol,
            state=self.state,
            api=app.state.apis[0],
            max_connections=allow_connections(options.max_connections),
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=cast("type[LimitedProtocol]", protocol),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=accept_batch(),
                timeout_keep_alive=max(1, round(options.idle_seconds)),
                timeout_graceful_shutdown=round(_END_SECONDS),
            )
        )

    @property
    def exit_code(self) -> int:
        """Return the exit code of the process."""
        if self.force_exit:
            return _SIGNAL_EXIT + self.signals[-1]
        return _SIGNAL_EXIT + signal.SIGINT if self.signals[:1] == [signal.SIGINT] else 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and report the address."""
        await super().startup(sockets)
        if self.should_exit:
            return
        for one in sockets or ():
            one.listen(_BACKLOG)  # asyncio has one parameter for the backlog and for the batch
        options = self.state.options
        is_printed = self.on_ready is not None and sys.stdout.isatty() and sys.stderr.isatty()
        is_open = not options.is_local and options.api_key is None
        logs.started(self.address, is_open=is_open, is_printed=is_printed)
        if self.on_ready is not None:
            self.on_ready(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, wait for running requests, then end those that are left with an error."""
        logs.stopping(signal.Signals(self.signals[0]).name if self.signals else "requested")
        self.state.stop_admitting()
        for server in self.servers:
            server.close()
        await asyncio.sleep(_POLL_SECONDS)  # reads what has been sent already, which is answered instead of reset
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait_for_requests(self.state.options.grace_seconds)
        self.state.end_requests()
        await self._wait_for_requests(_END_SECONDS)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that end a server, except those that this process was started to ignore (nohup)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown; a second signal ends it at once."""
        del frame
        self.signals.append(sig)
        self.force_exit = self.should_exit
        self.should_exit = True

    async def _wait_for_requests(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.state.admission.running and not self.force_exit and loop.time() < end:  # noqa: ASYNC110 - a signal sets no event
            await asyncio.sleep(_POLL_SECONDS)
