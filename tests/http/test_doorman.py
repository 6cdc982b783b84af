"""The doorman, at a real socket in this process: whom it lets in, whom it keeps waiting, whom it lets go."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest
from uvicorn.server import ServerState

from mlxknife.http import doorman as under_test
from mlxknife.http.app import create_app
from mlxknife.http.connection import Connection
from mlxknife.http.door import Door
from mlxknife.http.doorman import Doorman
from mlxknife.http.options import Options
from tests.fakes.serving import FakeResidents, FakeServing
from tests.http.servers import chat, request

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class Led(asyncio.Protocol):
    """Stands for the connection of somebody who was led in."""

    def __init__(self, newcomer: object, arrived: float) -> None:
        self.newcomer = newcomer
        self.arrived = arrived
        self.said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.said += data


@attrs.define(eq=False)
class Scene:
    """A doorman, the door, and those who were led in."""

    door: Door
    doorman: Doorman
    listener: socket.socket
    led: list[Led]

    def client(self, says: bytes = b"") -> socket.socket:
        """Come in from outside."""
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        client.sendall(says)
        return client


class Exhausted(socket.socket):
    """A listening socket of a system that has run out of something for a while."""

    refusals = 0

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def play(options: Options, act: Callable[[Scene], Awaitable[None]], *, leaves: bool = True) -> None:
    """Let something happen before a doorman, who leaves at the end if he has not done so."""

    async def stage() -> None:
        front_door: Door = create_app(FakeServing(), FakeResidents(), options).state.door
        led: list[Led] = []

        def connect(newcomer: object, arrived: float) -> Connection:
            led.append(Led(newcomer, arrived))
            return led[-1]  # type: ignore[return-value] # all that the loop needs of one

        with listening() as listener:
            loop = asyncio.get_running_loop()
            one = Doorman(front_door, connect, ServerState(), loop)
            one.stand_at(listener)
            try:
                await act(Scene(front_door, one, listener, led))
            finally:
                loop.remove_reader(listener)
                if leaves:
                    one.leave()
                await asyncio.sleep(0.01)
                for each in led:
                    each.transport.close()
                front_door.front.close()

    asyncio.run(stage())


@contextmanager
def listening() -> Iterator[Exhausted]:
    with Exhausted(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003 - it has no name
        yield listener


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something, for as long as any machine may need."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - it holds without telling
            await asyncio.sleep(0.002)


async def answer(client: socket.socket) -> bytes:
    """Read to the end what a client is told."""

    def read() -> bytes:
        parts = []
        while part := client.recv(65_536):
            parts.append(part)
        return b"".join(parts)

    return await asyncio.to_thread(read)


def test_who_is_led_in_has_all_that_was_said_and_the_time_of_coming() -> None:
    async def act(scene: Scene) -> None:
        loop = asyncio.get_running_loop()
        with scene.client() as client:
            await asyncio.sleep(0.05)
            assert not scene.led, "nothing was said yet"
            spoke = loop.time()
            client.sendall(b"GET /hea")
            await until(lambda: len(scene.led) == 1 and scene.led[0].said == b"GET /hea")
            assert scene.led[0].arrived < spoke
            client.sendall(b"lth")
            await until(lambda: scene.led[0].said == b"GET /health")

    play(Options(), act)


def test_who_says_nothing_is_let_go_and_who_came_later_may_stay_longer() -> None:
    async def act(scene: Scene) -> None:
        with scene.client() as first:
            await asyncio.sleep(0.2)
            with scene.client() as second:
                assert await answer(first) == b""
                second.sendall(b"GET")
                await until(lambda: len(scene.led) == 1)
            with scene.client() as third:
                assert await answer(third) == b"", "the clock is set again"
        with scene.client():
            await asyncio.sleep(0.02)  # and it goes by itself

    play(Options(header_seconds=0.4), act)


def test_as_many_are_let_in_as_there_are_places_although_nobody_has_taken_one_yet() -> None:
    async def act(scene: Scene) -> None:
        clients = [scene.client(chat()) for _ in range(12)]
        await until(lambda: len(scene.led) == 5)
        for client in clients[5:]:
            assert (await answer(client)).startswith(b"HTTP/1.1 429 ")
        scene.door.front.forget(scene.led[0].newcomer)
        with scene.client(chat()):
            await until(lambda: len(scene.led) == 6)
        with scene.client(request("GET", "/health")):
            await until(lambda: len(scene.led) == 7)  # which needs no place
        for client in clients:
            client.close()

    play(Options(max_requests=5), act)


def test_a_crowd_is_led_in_whole_and_in_its_order() -> None:
    async def act(scene: Scene) -> None:
        clients = [scene.client(chat().replace(b"hi", b"%02d" % number)) for number in range(40)]
        await until(lambda: len(scene.led) == 40 and all(one.said for one in scene.led))
        assert [one.said for one in scene.led] == [chat().replace(b"hi", b"%02d" % number) for number in range(40)]
        for client in clients:
            client.close()

    play(Options(), act)


def test_those_in_the_hall_do_not_wait_for_the_end_of_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_FEW", 1)
    monkeypatch.setattr(under_test, "_GLANCE", 0.03)  # within which somebody comes, again and again
    monkeypatch.setattr(under_test, "_PATIENCE", 0.1)

    async def act(scene: Scene) -> None:
        clients = [scene.client(chat()) for _ in range(3)]
        await until(lambda: len(scene.led) == 1)
        while len(scene.led) < 3:
            clients += [scene.client(chat()) for _ in range(3)]
            assert len(clients) < 2000
            await asyncio.sleep(0.005)
        told = [await answer(client) for client in clients[3:]]
        assert told
        assert all(one.startswith(b"HTTP/1.1 429 ") for one in told)
        await until(lambda: noted(scene.door) == len(told))
        for client in clients:
            client.close()

    play(Options(max_requests=3), act)


def noted(door: Door) -> float:
    labels = {"route": "/v1/chat/completions", "status": "429"}
    return door.front.metrics.registry.get_sample_value("mlxknife_requests_total", labels) or 0.0


def test_at_the_end_all_who_asked_are_led_in_and_the_silent_go() -> None:
    async def act(scene: Scene) -> None:
        silent = scene.client()
        clients = [scene.client(chat()) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        scene.doorman.leave()
        await until(lambda: len(scene.led) == 20)
        assert await answer(silent) == b""
        for client in (silent, *clients):
            client.close()

    play(Options(), act, leaves=False)


def test_what_the_system_has_run_out_of_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_REST", 0.01)

    async def act(scene: Scene) -> None:
        assert isinstance(scene.listener, Exhausted)
        scene.listener.refusals = 3
        with scene.client(b"GET"):
            await until(lambda: len(scene.led) == 1)
            assert scene.listener.refusals == 0

    play(Options(), act)
