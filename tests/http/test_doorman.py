"""The doorman, at a real socket in this process: whom it lets in, whom it keeps waiting, whom it lets go."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

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


FEW = 4
"""So many are no crowd yet; for them there is a place, or they are refused inside."""


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
    listener: Exhausted
    doorman: Doorman = attrs.field(init=False)
    led: list[Led] = attrs.field(factory=list)
    refuses: type[Exception] | None = None
    """What is raised instead of making a connection."""

    def connect(self, newcomer: object, arrived: float) -> Connection:
        if self.refuses is not None:
            raise self.refuses
        self.led.append(Led(newcomer, arrived))
        return self.led[-1]  # type: ignore[return-value] # all that the loop needs of one

    def client(self, says: bytes = b"") -> socket.socket:
        """Come in from outside."""
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        client.sendall(says)
        return client

    def crowd(self, size: int, says: bytes | None = None) -> list[socket.socket]:
        return [self.client(chat() if says is None else says) for _ in range(size)]


class Exhausted(socket.socket):
    """A listening socket of a system that may run out of something for a while."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.refusals = 0
        self.refused_at: list[float] = []

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            self.refused_at.append(asyncio.get_running_loop().time())
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def play(options: Options, act: Callable[[Scene], Awaitable[None]], *, expects: int = 0) -> None:
    """Let something happen before a doorman, who leaves at the end; in the loop itself so many errors are expected."""
    troubles: list[dict[str, object]] = []

    async def stage() -> None:
        door: Door = create_app(FakeServing(), FakeResidents(), options).state.door
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
        with listening() as listener:
            scene = Scene(door, listener)
            one = scene.doorman = Doorman(door, scene.connect, ServerState(), loop)
            one.stand_at([listener])
            try:
                await act(scene)
            finally:
                if listener.fileno() >= 0:
                    loop.remove_reader(listener)
                one.leave()
                await asyncio.sleep(0.01)
                for each in scene.led:
                    each.transport.close()
                door.front.close()

    asyncio.run(stage())
    assert len(troubles) == expects, troubles


@contextmanager
def listening() -> Iterator[Exhausted]:
    with Exhausted() as listener:
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


def closes_with_reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def refused(door: Door) -> float:
    return door.front.metrics.registry.get_sample_value("mlxknife_refused_total") or 0.0


def noted(door: Door) -> float:
    labels = {"route": "/v1/chat/completions", "status": "429"}
    return door.front.metrics.registry.get_sample_value("mlxknife_requests_total", labels) or 0.0


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


def test_who_says_nothing_is_let_go_each_in_turn() -> None:
    async def act(scene: Scene) -> None:
        with scene.client() as first:
            assert await answer(first) == b""
            with scene.client() as second, scene.client() as third:
                assert await answer(second) == b""
                assert await answer(third) == b""
        assert not scene.led

    play(Options(header_seconds=0.1), act)


def test_the_rest_of_a_request_is_waited_for_but_not_for_long() -> None:
    head, body = chat()[:-20], chat()[-20:]

    async def act(scene: Scene) -> None:
        with scene.client(head) as slow:
            await until(lambda: len(scene.led) == 1)  # by itself, after a while
            assert scene.door.front.has_room_for_newcomers, "it has no place before it is whole"
            slow.sendall(body)
            await until(lambda: scene.led[0].said == chat())
        with scene.client(head) as gone:
            gone.shutdown(socket.SHUT_WR)
            await until(lambda: len(scene.led) == 2)
        clients = scene.crowd(30, head)
        await asyncio.sleep(0)
        for client in clients:
            client.sendall(body)
        await until(lambda: refused(scene.door) == 30 - FEW)
        assert len(scene.led) == 2 + FEW
        for client in clients:
            client.close()

    play(Options(max_requests=1), act)


def test_as_many_of_a_crowd_are_let_in_as_there_are_places_although_nobody_has_taken_one_yet() -> None:
    async def act(scene: Scene) -> None:
        clients = scene.crowd(20)
        await until(lambda: len(scene.led) == 5)
        for client in clients[5:]:
            assert (await answer(client)).startswith(b"HTTP/1.1 429 ")
        assert refused(scene.door) == 15
        await until(lambda: noted(scene.door) == 15)
        scene.door.front.forget(scene.led[0].newcomer)
        clients += scene.crowd(20)
        await until(lambda: refused(scene.door) == 15 + 20 - FEW)
        assert len(scene.led) == 5 + FEW
        with scene.client(request("GET", "/health")):
            await until(lambda: len(scene.led) == 5 + FEW + 1)  # which needs no place
        for client in clients:
            client.close()

    play(Options(max_requests=5), act)


def test_who_comes_alone_is_refused_inside_where_the_connection_can_stay() -> None:
    async def act(scene: Scene) -> None:
        for number in range(1, 4):
            with scene.client(chat()):
                await until(lambda: len(scene.led) == number)  # noqa: B023 - it is awaited here
            await asyncio.sleep(0.01)
        assert refused(scene.door) == 0

    play(Options(max_requests=0), act)


def test_who_has_no_key_takes_no_place_from_those_who_have() -> None:
    keyless = chat()
    rightful = keyless.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer key\r\n\r\n", 1)

    async def act(scene: Scene) -> None:
        clients = scene.crowd(40, keyless)
        await until(lambda: len(scene.led) == 40)
        assert scene.door.front.has_room_for_newcomers
        clients += scene.crowd(30, rightful)
        await until(lambda: refused(scene.door) == 26)
        assert len(scene.led) == 44
        for client in clients:
            client.close()

    play(Options(max_requests=4, api_key="key"), act)


def test_a_crowd_is_led_in_whole_and_in_its_order() -> None:
    async def act(scene: Scene) -> None:
        asked = [chat().replace(b"hi", b"%02d" % number) for number in range(40)]
        clients = [scene.client(one) for one in asked]
        await until(lambda: len(scene.led) == 40 and all(one.said for one in scene.led))
        assert [one.said for one in scene.led] == asked
        for client in clients:
            client.close()

    play(Options(), act)


def test_those_in_the_hall_and_the_notes_do_not_wait_for_the_end_of_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_FEW", 1)
    monkeypatch.setattr(under_test, "_GLANCE", 0.03)  # within which somebody comes, again and again

    async def act(scene: Scene) -> None:
        clients = scene.crowd(3)
        while len(scene.led) < 3 or not noted(scene.door):
            clients += scene.crowd(3)
            assert len(clients) < 3000
            await asyncio.sleep(0.005)
        for client in clients:
            client.close()

    play(Options(max_requests=3), act)


def test_at_the_end_all_who_asked_are_led_in_and_the_silent_go_and_all_is_noted() -> None:
    async def act(scene: Scene) -> None:
        with scene.client() as silent, scene.client(chat()[:-1]) as unfinished:
            clients = scene.crowd(30)
            while refused(scene.door) < 10:  # noqa: ASYNC110 - at once, before anything is noted
                await asyncio.sleep(0)
            scene.doorman.leave()
            assert noted(scene.door) == 10
            await until(lambda: len(scene.led) == 21)
            assert await answer(silent) == b""
            assert unfinished.fileno() >= 0
            for client in clients:
                client.close()
        scene.doorman.leave = lambda: None  # type: ignore[method-assign] # once is enough

    play(Options(max_requests=20), act)


def test_what_the_system_has_run_out_of_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = 0.02
    monkeypatch.setattr(under_test, "_REST", rest)

    async def act(scene: Scene) -> None:
        scene.listener.refusals = 3
        with scene.client(b"GET"):
            await until(lambda: len(scene.led) == 1)
        first, second, third = scene.listener.refused_at
        assert min(second - first, third - second) >= rest
        scene.listener.refusals = 1
        with scene.client(b"GET"):
            await until(lambda: not scene.listener.refusals)
            asyncio.get_running_loop().remove_reader(scene.listener)
            scene.listener.close()
            await asyncio.sleep(2 * rest)  # and nobody comes back to it

    play(Options(), act)


def test_who_is_gone_is_nobodys_trouble() -> None:
    async def act(scene: Scene) -> None:
        silent = [scene.client() for _ in range(3)]
        await asyncio.sleep(0.02)
        silent[0].close()
        closes_with_reset(silent[1])
        for says in (b"", b"GET", chat()[:-1], chat()):
            scene.client(says).close()
            closes_with_reset(scene.client(says))
        with scene.client(b"GET /") as last:
            await until(lambda: any(one.said == b"GET /" for one in scene.led))
            last.close()
        silent[2].close()

    play(Options(), act)


@pytest.mark.parametrize(("error", "troubles"), [(ConnectionResetError, 0), (TypeError, 1)])
def test_whose_connection_cannot_be_made_has_no_place(error: type[Exception], troubles: int) -> None:
    async def act(scene: Scene) -> None:
        scene.refuses = error
        with scene.client(chat()) as client:
            with suppress(ConnectionResetError):  # nobody reads what was asked
                assert await answer(client) == b""
            assert scene.door.front.has_room_for_newcomers

    play(Options(max_requests=1), act, expects=troubles)
