"""Access over real connections: host names, origins and the API key."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.wire import Reply, bounded, get, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "the-key-of-this-server"
BEARER = f"Authorization: Bearer {KEY}"
MODEL = parrot_folder().name
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2}).encode()

OWN_HOSTS = ["localhost", "LOCALHOST", "LocalHost:1", "localhost.", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80"]
OTHER_HOSTS = [
    *"""evil.example evil.example:8000 localhost.evil.example evil.example.localhost 127.0.0.1.evil.example 127.0.0.2
    127.1 2130706433 0x7f000001 017700000001 0.0.0.0 [::] [::ffff:127.0.0.1] [0:0:0:0:0:0:0:2] ::1 [::1 [::1]x [::1]:
    localhost: localhost:x localhost:-1 localhost:99999999 localhost:80:80 user@localhost user:pass@localhost:80
    localhost@evil.example localhost/ localhost?x localhost#x localhost\\@evil.example //localhost
    http://localhost localhost,evil.example localhost%00 localhost%2eevil.example .localhost localhost.. -localhost
    10.0.0.1 169.254.169.254 xn--lcalhost-h1a l\u043ecalhost \u24dbocalhost localhost\u3002 \uff4cocalhost null
    * _ 1""".split(),
    "",
    "localhost evil.example",
    "localhost\tx",
    "evil.example\r\nHost: localhost",
    "localhost\r\nHost: localhost",
    "localhost\r\nHost: evil.example",
    "a" * 5000,
]
OTHER_PAGES = """http://evil.example https://evil.example null http://localhost.evil.example http://localhost:1 file://
http://127.0.0.2 http://user@localhost localhost chrome-extension://abcdef http:// http://[::1 * about:blank
http://localhost,http://evil.example http://xn--lcalhost-h1a""".split()


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(parrot_folder()) as server, bounded(server.pid):
        yield server


@pytest.fixture(scope="module")
def locked() -> Iterator[FakeServer]:
    with FakeServer(parrot_folder(), options={"api_key": KEY}) as server, bounded(server.pid):
        yield server


def ask(server: FakeServer, data: bytes) -> Reply:
    with line(server.port) as one:
        return one.ask(data)


def named(data: bytes, host: str) -> bytes:
    return data.replace(b"Host: localhost", b"Host: " + host.encode(), 1)


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_host_names_are_served(server: FakeServer, host: str) -> None:
    assert ask(server, named(get("/health"), host)).status == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_other_host_names_are_refused(server: FakeServer, host: str) -> None:
    for data in (get("/health"), post(CHAT, BODY)):
        reply = ask(server, named(data, host))
        assert reply.status == (400 if "\r\n" in host else 403)
        assert json.loads(reply.body)["status"] == "error"


@pytest.mark.parametrize("origin", OTHER_PAGES)
def test_pages_of_other_origins_are_refused(server: FakeServer, origin: str) -> None:
    for data in (get("/health", f"Origin: {origin}"), post(CHAT, BODY, f"Origin: {origin}")):
        reply = ask(server, data)
        assert reply.status == 403
        assert reply.header("access-control-allow-origin") is None


def test_a_second_origin_header_is_refused(server: FakeServer) -> None:
    own = f"Origin: http://localhost:{server.port}"
    assert ask(server, get("/health", own, host=f"localhost:{server.port}")).status == 200
    assert ask(server, get("/health", own, "Origin: null", host=f"localhost:{server.port}")).status == 403


ROUTES = [
    *(post(path, BODY) for path in (CHAT, TEXT, "/v1/models", "/nothing", "//v1/models")),
    *(
        get(path)
        for path in f"/v1/models /v1/models/{MODEL} /health /ready /metrics /openapi.json / /nothing *".split()
    ),
    *(get("/v1/models").replace(b"GET", method) for method in (b"OPTIONS", b"DELETE", b"HEAD", b"PUT")),
]
WRONG = ["", "Bearer", "Bearer ", "Bearer x", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY]
WRONG += [
    f"Bearer {KEY.upper()}",
    f"Bearer x {KEY}",
    f"Bearer {KEY},{KEY}",
    f"Bearer {KEY}\0",
    "Bearer " + "k" * 10_000,
]


@pytest.mark.parametrize("data", ROUTES, ids=lambda data: data[:40].split(b" HTTP")[0].decode())
def test_no_route_answers_without_the_key(locked: FakeServer, data: bytes) -> None:
    head, _, body = data.partition(b"\r\n\r\n")
    for wrong in [None, *WRONG, f"Bearer {KEY}\r\nAuthorization: Bearer {KEY}"]:
        given = b"" if wrong is None else f"\r\nAuthorization: {wrong}".encode()
        asked = head + given + b"\r\nConnection: close\r\n\r\n" + body
        with line(locked.port) as one:
            one.send(asked)
            whole = b""
            while part := one.socket.recv(65536):
                whole += part
        assert whole[9:12] == (b"400" if "\0" in (wrong or "") else b"401"), whole
        assert KEY.encode() not in whole


def test_the_key_gives_access(locked: FakeServer) -> None:
    assert ask(locked, get("/v1/models", BEARER)).status == 200
    assert ask(locked, post(CHAT, BODY, BEARER)).status == 200
