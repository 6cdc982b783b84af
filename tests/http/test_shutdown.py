"""Clients that connect while the server shuts down."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack

import pytest

from mlxknife.http.options import Options
from mlxknife.http.server.server import Server
from mlxknife.http.server.sockets import listen
from tests.fakes.serving import FakeBackend
from tests.http.servers import chat, request, rest

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def responses_during_shutdown(caplog: pytest.LogCaptureFixture, *requests: bytes) -> list[bytes]:
    """Return what clients receive that connect right before a server shuts down, and see that it waits for none."""
    caplog.set_level(logging.WARNING)
    clients: list[socket.socket] = []

    async def run() -> list[bytes]:
        options = Options(port=0)
        sockets = listen(options.host, options.port)
        server = Server(FakeBackend(options=options).app(), "", None)
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets)
        for data in requests:
            client = stack.enter_context(socket.create_connection(sockets[0].getsockname(), timeout=10))
            client.sendall(data)
            clients.append(client)
        while not server.server_state.connections:  # noqa: ASYNC110 - the others are accepted, too, and not yet read
            await asyncio.sleep(0)
        await server.shutdown(sockets)
        assert not server.server_state.connections
        return [rest(client) for client in clients]

    with ExitStack() as stack:
        received = asyncio.run(run())
    assert not caplog.records
    return received


def test_a_request_that_arrives_during_shutdown_is_refused_or_answered(caplog: pytest.LogCaptureFixture) -> None:
    received = responses_during_shutdown(caplog, *[chat(stream=False, close=False)] * 20)
    assert {data[:12] for data in received} <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}


def test_connections_without_a_request_do_not_delay_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    unfinished = request("GET", "/health")[:-10]
    assert responses_during_shutdown(caplog, b"", unfinished, b"") == [b"", b"", b""]
