"""Running the application: a process that serves until it is told to end, and then leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from mlxknife.http import logs
from mlxknife.http.connection import Connection, connections
from mlxknife.http.door import Door
from mlxknife.http.doorman import Doorman
from mlxknife.http.listening import allow_many_connections, listen, url
from mlxknife.http.options import Options

BACKLOG = 2048
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALLED = 128
_LAST_WORDS = 2.0
"""Seconds for what has been told to end."""
_GLANCE = 0.02
_YOUNG = 20_000
"""How many new objects the garbage collector waits for: a search among so many is not felt."""


def serve(
    create: Callable[[Options], Starlette], options: Options, on_ready: Callable[[str], None] | None = None
) -> int:
    """Serve until a signal comes; return the exit code: 130 after Ctrl-C, 0 after SIGTERM or SIGHUP.

    ``create`` is called in the loop that will run the application; ``on_ready`` with the address, once it is served.
    A second signal ends everything at once; the exit code then names it.

    Raises ValidationError, AccessDenied or StorageError where the address cannot be used.
    """
    sockets = listen(options.host, options.port)
    logs.set_up(options)
    allow_many_connections()
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
    gc.freeze()  # it lives as long as the process: no search for garbage need go over it again and again
    gc.set_threshold(_YOUNG)
    door: Door = app.state.door
    server = Server(_config(app, door), door, url(sockets), on_ready)
    try:
        await server.serve(sockets=sockets)
    finally:
        door.front.close()
    return server.exit_code


def _config(app: Starlette, door: Door) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connections(door.front),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, round(door.front.options.idle_seconds)),
        timeout_graceful_shutdown=round(_LAST_WORDS),
    )


class Server(uvicorn.Server):
    """uvicorn's server, which ends as this product promises."""

    def __init__(
        self, config: uvicorn.Config, door: Door, address: str, on_ready: Callable[[str], None] | None
    ) -> None:
        """Serve what is behind one door."""
        super().__init__(config)
        self.front = door.front
        self.doorman = Doorman(door, self._connection, self.server_state, asyncio.get_running_loop())
        self.address = address
        self.on_ready = on_ready
        self.signals: list[int] = []

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        if self.force_exit:
            return _SIGNALLED + self.signals[-1]
        return _SIGNALLED + signal.SIGINT if self.signals[:1] == [signal.SIGINT] else 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.should_exit:
            return
        self.doorman.stand_at(sockets or ())
        options = self.front.options
        is_told = self.on_ready is not None and sys.stdout.isatty() and sys.stderr.isatty()
        logs.started(self.address, is_open=not options.is_local and options.api_key is None, is_told=is_told)
        if self.on_ready is not None:
            self.on_ready(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing more, let what runs come to its end for a while, then end it with a word."""
        logs.stopping(signal.Signals(self.signals[0]).name if self.signals else "asked to")
        self.front.stop_taking()
        for server in self.servers:
            server.close()
        self.doorman.leave()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._until_idle(self.front.options.grace_seconds)
        self.front.end_requests()
        await self._until_idle(_LAST_WORDS)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear the signals that ask a server to end, while it serves."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS if _is_heard(number)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; at once, when it is asked a second time."""
        del frame
        self.signals.append(sig)
        self.force_exit = self.should_exit
        self.should_exit = True

    def _connection(self, newcomer: object, arrived: float) -> Connection:
        """Return the protocol for one client, made as uvicorn does it."""
        protocol: type[Connection] = self.config.http_protocol_class  # type: ignore[assignment]
        made = protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        made.newcomer, made.arrived = newcomer, arrived
        return made

    async def _until_idle(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while self.front.in_flight and not self.force_exit and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - a signal sets no event
            await asyncio.sleep(_GLANCE)


def _is_heard(number: int) -> bool:
    """Tell whether a signal may end this process: nohup, for one, wishes otherwise."""
    return signal.getsignal(number) is not signal.SIG_IGN
