"""The end of a server that is still being asked."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from mlxknife.http import server as under_test
from mlxknife.http.app import create_app
from mlxknife.http.door import Door
from mlxknife.http.listening import listen
from mlxknife.http.options import Options
from tests.fakes.serving import FakeResidents, FakeServing
from tests.http.servers import chat

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_who_is_let_in_at_the_very_end_is_told_so_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def play() -> list[bytes]:
        options = Options(port=0)
        app = create_app(FakeServing(), FakeResidents(), options)
        door: Door = app.state.door
        sockets = listen(options.host, options.port)
        config = under_test._config(app, door)  # noqa: SLF001 - as serve() makes it
        config.load()
        server = under_test.Server(config, door, "", None)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets)
        clients = [socket.create_connection(sockets[0].getsockname(), timeout=10) for _ in range(20)]
        for client in clients:
            client.sendall(chat(stream=False, close=False))
        while door.front.has_room_for_newcomers and len(door.front._newcomers) < len(clients):  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0)
        await server.shutdown(sockets)
        assert not server.server_state.connections
        answers = [client.recv(65_536) for client in clients]
        for client in clients:
            assert client.recv(1) == b""
            client.close()
        return answers

    answers = asyncio.run(play())
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    assert answers[-1].startswith(b"HTTP/1.1 503 ")
    assert not caplog.records
