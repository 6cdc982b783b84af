"""The checks of the middleware: host, origin, key, admission, media type and size of the body."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mlxknife.http.options import Options
from tests.http.conftest import BODY, Backend, error_of

KEY = "k3y-of-the-server"
ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/org/model"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("GET", "/nothing"),
    ("OPTIONS", "/v1/models"),
    ("DELETE", "/v1/models"),
]
OWN_HOSTS = """localhost localhost:80 localhost:8000 LOCALHOST LocalHost:1 localhost. localhost.:80 127.0.0.1
127.0.0.1:8000 [::1] [::1]:8000 our.name our.name:1 OUR.NAME""".split()
OTHER_HOSTS = [
    *"""evil.example evil.example:8000 localhost.evil.example evil.example.localhost 127.0.0.1.evil.example 127.0.0.2
    127.1 2130706433 0x7f000001 0.0.0.0 [::] [::ffff:127.0.0.1] ::1 [::1 [::1]x [::1]: localhost: localhost:x
    localhost:99999999 localhost:80:80 user@localhost localhost@evil.example localhost/x localhost?x localhost#x
    http://localhost localhost,evil.example localhost%00 .localhost our.name.. -localhost 10.0.0.1""".split(),
    "",
    "localhost evil.example",
    "loc\xe4lhost",
]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "::1", "0:0:0:0:0:0:0:1"])
def test_a_loopback_address_is_local(host: str) -> None:
    assert Options(host=host).is_local


NOT_LOCAL = """127.evil.example 127.0.0.1.evil.example 127. 127.0.0.256 localhost.evil.example * :: 0.0.0.0 10.0.0.1
128.0.0.1 [::1] our.name""".split()


@pytest.mark.parametrize("host", [*NOT_LOCAL, "", "127.0.0.1 "])
def test_a_name_that_only_looks_local_is_not(host: str) -> None:
    assert not Options(host=host).is_local


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_host_names_are_served(backend: Backend, host: str) -> None:
    backend.options = Options(allowed_hosts=("our.name",))
    assert backend.client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_other_host_names_are_refused(backend: Backend, host: str) -> None:
    backend.options = Options(allowed_hosts=("our.name",))
    reply = backend.client.get("/health", headers={b"host": host.encode("latin-1")})
    assert reply.status_code == 403
    assert error_of(reply.json(), reply.headers["x-request-id"])["type"] == "host_refused"


def test_a_server_on_all_addresses_serves_any_address_but_no_other_name(backend: Backend) -> None:
    backend.options = Options(host="0.0.0.0")
    for host, status in [("192.168.1.7:8000", 200), ("[fe80::1]", 200), ("localhost", 200), ("evil.example", 403)]:
        assert backend.client.get("/health", headers={"host": host}).status_code == status


def test_all_host_names_can_be_allowed(backend: Backend) -> None:
    backend.options = Options(allowed_hosts=("*",))
    assert backend.client.get("/health", headers={"host": "whatever"}).status_code == 200


ORIGINS = [
    ("http://localhost", (), 200),
    ("http://localhost:80", (), 200),
    ("HTTP://LOCALHOST", (), 200),
    ("http://localhost:3000", (), 403),
    ("https://localhost", (), 200),
    ("http://evil.example", (), 403),
    ("http://localhost.evil.example", (), 403),
    ("http://127.0.0.1", (), 403),
    ("null", (), 403),
    ("", (), 403),
    ("file://", (), 403),
    ("localhost", (), 403),
    ("null", ("null",), 200),
    ("http://app.example", ("http://app.example",), 200),
    ("http://app.example", ("http://app.example/",), 200),
    ("https://app.example", ("http://app.example",), 403),
    ("http://app.example:81", ("http://app.example",), 403),
    ("http://any.example", ("*",), 200),
    ("http://app.example", ("HTTP://App.Example:80/",), 200),
    ("https://app.example", ("https://app.example:443",), 200),
]


@pytest.mark.parametrize(("origin", "allowed", "status"), ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_origins_are_refused_unless_they_are_allowed(
    backend: Backend, origin: str, allowed: tuple[str, ...], status: int, method: str
) -> None:
    backend.options = Options(cors_origins=allowed)
    path, body = ("/health", None) if method == "GET" else ("/v1/chat/completions", BODY)
    reply = backend.client.request(method, path, json=body, headers={"origin": origin})
    assert reply.status_code == status
    is_shared = status == 200 and bool(allowed)
    assert reply.headers.get("access-control-allow-origin") == (origin if is_shared else None)
    if status == 403:
        assert backend.engine.requests == []


def test_a_preflight_request_needs_no_key(backend: Backend) -> None:
    backend.options = Options(cors_origins=("null",), api_key=KEY)
    requested = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-os",
    }
    reply = backend.client.options("/v1/chat/completions", headers={"origin": "null", **requested})
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "null"
    assert reply.headers["access-control-allow-headers"] == requested["access-control-request-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    stranger = backend.client.options("/v1/chat/completions", headers={"origin": "http://evil.example", **requested})
    assert stranger.status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_the_key(backend: Backend, method: str, path: str) -> None:
    backend.options = Options(api_key=KEY)
    key = KEY.encode()
    near = [b"Bearer " + key + b"x", b"Bearer " + key[:-1], b"Basic " + key, key]
    wrong = [None, b"", b"Bearer", b"Bearer ", b"Bearer x", *near]
    for value in wrong:
        headers = {} if value is None else {b"authorization": value}
        reply = backend.client.request(method, path, headers=headers)
        assert reply.status_code == 401, value
        assert reply.headers["www-authenticate"] == "Bearer"
        assert error_of(reply.json(), reply.headers["x-request-id"])["code"] == "invalid_api_key"
    for right in (b"Bearer " + key, b"bearer  " + key):
        assert backend.client.request(method, path, headers={b"authorization": right}).status_code != 401


def test_the_key_may_come_in_x_api_key(backend: Backend) -> None:
    backend.options = Options(api_key=KEY)
    key = KEY.encode()

    def status(*headers: tuple[bytes, bytes]) -> int:
        return backend.client.get("/v1/models", headers=[*headers]).status_code

    bearer, plain = (b"authorization", b"Bearer " + key), (b"x-api-key", key)
    for right in ([plain], [bearer, plain], [(b"authorization", b"Basic xyz"), plain], [bearer, (b"x-api-key", b"no")]):
        assert status(*right) == 200, right
    wrong = [(b"authorization", b"Bearer no"), plain]
    for headers in ([(b"x-api-key", b"Bearer " + key)], [(b"x-api-key", key + b"x")], [plain, plain], wrong):
        assert status(*headers) == 401, headers


def test_the_key_is_shown_nowhere(backend: Backend) -> None:
    backend.options = Options(api_key=KEY)
    assert KEY not in repr(backend.options)
    backend.models.find_error = RuntimeError(KEY)
    headers = {b"authorization": b"Bearer " + KEY.encode()}
    assert KEY not in backend.client.get("/v1/models/x", headers=headers).text


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/vnd.x+json", None]
)
def test_each_media_type_of_json_is_accepted(backend: Backend, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    reply = backend.client.post("/v1/chat/completions", content=b'{"model":1}', headers=headers)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_other_media_types_are_refused(backend: Backend, headers: dict[str, str]) -> None:
    reply = backend.client.post("/v1/chat/completions", content=b"{}", headers=headers)
    assert reply.status_code == 415


def test_the_media_type_is_not_checked_where_no_body_is_read(backend: Backend) -> None:
    for path, status in (("/v1/responses", 404), ("/chat/completions", 404), ("/health", 405)):
        assert backend.client.post(path, content=b"a=b", headers={"content-type": "text/plain"}).status_code == status


def test_refusals_have_a_hint(backend: Backend) -> None:
    def message(**headers: str) -> str:
        reply = backend.client.post("/v1/chat/completions", content=b"{}", headers=headers)
        text: str = reply.json()["error"]["message"]
        return text

    assert message(host="evil.example").endswith("start it with --allow-host and the name")
    assert message(origin="http://evil.example").endswith("Start the server with --cors and the origin")
    assert "-H 'Content-Type: application/json'" in message(**{"content-type": "application/x-www-form-urlencoded"})


def test_a_missing_key_gets_a_hint_how_to_send_it(backend: Backend) -> None:
    backend.options = Options(api_key=KEY)
    message = backend.client.get("/v1/models").json()["error"]["message"]
    assert message == "The API key is missing or wrong. Send it as Authorization: Bearer KEY, or as X-API-Key: KEY"


def test_a_body_with_a_large_content_length_is_refused_unread(backend: Backend) -> None:
    backend.options = Options(max_body_bytes=100)
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "user": "x" * 100})
    assert reply.status_code == 413


def test_a_body_without_a_length_is_refused_when_it_becomes_too_large(backend: Backend) -> None:
    backend.options = Options(max_body_bytes=100)

    parts = iter([b"x" * 10] * 20)
    reply = backend.client.post("/v1/chat/completions", content=parts, headers={"content-type": "application/json"})
    assert reply.status_code == 413


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "٣"])
def test_an_invalid_content_length_is_refused(backend: Backend, length: str) -> None:
    headers = {b"content-length": length.encode(), b"content-type": b"application/json"}
    reply = backend.client.post("/v1/chat/completions", content=b"{}", headers=headers)
    assert reply.status_code == 400


def test_a_body_that_does_not_arrive_in_time_is_refused(backend: Backend) -> None:
    backend.options = Options(body_seconds=0.05)

    async def ask() -> list[dict[str, object]]:
        sent: list[dict[str, object]] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": [(b"host", b"localhost"), (b"content-length", b"10")],
            "query_string": b"",
        }

        async def receive() -> dict[str, object]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: object) -> None:
            assert isinstance(message, dict)
            sent.append(message)

        await backend.app()(scope, receive, send)
        return sent

    assert asyncio.run(ask())[0]["status"] == 408


def test_a_full_server_refuses_before_any_work(backend: Backend) -> None:
    backend.options = Options(max_requests=0)
    reply = backend.client.post("/v1/chat/completions", content=b"not even json")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert error_of(reply.json(), reply.headers["x-request-id"])["retryable"]
    assert backend.client.get("/health").status_code == 200
    assert backend.client.get("/ready").json()["status"] == "busy"
    assert backend.client.post("/v1/models").status_code == 405
    assert backend.client.post("/v1/models/v1/completions").status_code == 405
    assert backend.client.post("/v2/v1/completions").status_code == 404
    assert "mlxknife_refused_total 1.0" in backend.client.get("/metrics").text


def test_a_full_server_refuses_wherever_it_is_mounted(backend: Backend) -> None:
    backend.options = Options(max_requests=0)
    mounted = TestClient(Starlette(routes=[Mount("/llm", backend.app())]), base_url="http://localhost")
    too_large = {"content-length": "999999999999"}
    assert mounted.post("/llm/v1/completions", content=b"x", headers=too_large).status_code == 429
    assert mounted.post("/llm/v1/other", content=b"x", headers=too_large).status_code == 413


def test_all_bodies_together_have_a_limit(backend: Backend) -> None:
    backend.options = Options(max_body_bytes=1000, max_pending_bytes=1000)
    app = backend.app()
    app.state.server.bodies.held = 990
    client = TestClient(app, base_url="http://localhost")
    assert client.post("/v1/chat/completions", json=BODY).status_code == 429
    app.state.server.bodies.held = 0
    assert client.post("/v1/chat/completions", json=BODY).status_code == 200
    assert app.state.server.bodies.held == 0
