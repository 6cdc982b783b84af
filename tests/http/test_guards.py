"""What is asked of a request before anything is done for it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mlxknife.http.options import Options
from tests.http.conftest import BODY, Stage, error_of

KEY = "k3y-of-ours"
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
OUR_HOSTS = """localhost localhost:80 localhost:8000 LOCALHOST LocalHost:1 localhost. localhost.:80 127.0.0.1
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
def test_what_only_this_machine_can_reach_is_local(host: str) -> None:
    assert Options(host=host).is_local


NOT_LOCAL = """127.evil.example 127.0.0.1.evil.example 127. 127.0.0.256 localhost.evil.example * :: 0.0.0.0 10.0.0.1
128.0.0.1 [::1] our.name""".split()


@pytest.mark.parametrize("host", [*NOT_LOCAL, "", "127.0.0.1 "])
def test_a_name_that_only_looks_local_is_not(host: str) -> None:
    assert not Options(host=host).is_local


@pytest.mark.parametrize("host", OUR_HOSTS)
def test_our_own_names_are_answered(stage: Stage, host: str) -> None:
    stage.options = Options(allowed_hosts=("our.name",))
    assert stage.client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_other_names_are_refused(stage: Stage, host: str) -> None:
    stage.options = Options(allowed_hosts=("our.name",))
    reply = stage.client.get("/health", headers={b"host": host.encode("latin-1")})
    assert reply.status_code == 403
    assert error_of(reply.json(), reply.headers["x-request-id"])["type"] == "host_refused"


def test_a_server_of_a_whole_network_is_known_by_its_addresses_but_by_no_other_name(stage: Stage) -> None:
    stage.options = Options(host="0.0.0.0")
    for host, status in [("192.168.1.7:8000", 200), ("[fe80::1]", 200), ("localhost", 200), ("evil.example", 403)]:
        assert stage.client.get("/health", headers={"host": host}).status_code == status


def test_any_name_can_be_allowed(stage: Stage) -> None:
    stage.options = Options(allowed_hosts=("*",))
    assert stage.client.get("/health", headers={"host": "whatever"}).status_code == 200


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
def test_pages_of_others_are_refused_unless_they_were_allowed(
    stage: Stage, origin: str, allowed: tuple[str, ...], status: int, method: str
) -> None:
    stage.options = Options(cors_origins=allowed)
    path, body = ("/health", None) if method == "GET" else ("/v1/chat/completions", BODY)
    reply = stage.client.request(method, path, json=body, headers={"origin": origin})
    assert reply.status_code == status
    is_shared = status == 200 and bool(allowed)
    assert reply.headers.get("access-control-allow-origin") == (origin if is_shared else None)
    if status == 403:
        assert stage.serving.requests == []


def test_a_browser_may_ask_first_and_needs_no_key_for_that(stage: Stage) -> None:
    stage.options = Options(cors_origins=("null",), api_key=KEY)
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, x-stainless-os"}
    reply = stage.client.options("/v1/chat/completions", headers={"origin": "null", **asks})
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "null"
    assert reply.headers["access-control-allow-headers"] == asks["access-control-request-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    stranger = stage.client.options("/v1/chat/completions", headers={"origin": "http://evil.example", **asks})
    assert stranger.status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_the_key(stage: Stage, method: str, path: str) -> None:
    stage.options = Options(api_key=KEY)
    key = KEY.encode()
    near = [b"Bearer " + key + b"x", b"Bearer " + key[:-1], b"Basic " + key, key]
    wrong = [None, b"", b"Bearer", b"Bearer ", b"Bearer x", *near]
    for value in wrong:
        headers = {} if value is None else {b"authorization": value}
        reply = stage.client.request(method, path, headers=headers)
        assert reply.status_code == 401, value
        assert reply.headers["www-authenticate"] == "Bearer"
        assert error_of(reply.json(), reply.headers["x-request-id"])["code"] == "invalid_api_key"
    for right in (b"Bearer " + key, b"bearer  " + key):
        assert stage.client.request(method, path, headers={b"authorization": right}).status_code != 401


def test_the_key_is_told_nowhere(stage: Stage) -> None:
    stage.options = Options(api_key=KEY)
    assert KEY not in repr(stage.options)
    stage.serving.find_error = RuntimeError(KEY)
    headers = {b"authorization": b"Bearer " + KEY.encode()}
    assert KEY not in stage.client.get("/v1/models/x", headers=headers).text


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/vnd.x+json", None]
)
def test_json_is_taken_under_each_of_its_names(stage: Stage, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    reply = stage.client.post("/v1/chat/completions", content=b'{"model":1}', headers=headers)
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
def test_other_bodies_are_not(stage: Stage, headers: dict[str, str]) -> None:
    reply = stage.client.post("/v1/chat/completions", content=b"{}", headers=headers)
    assert reply.status_code == 415


def test_where_nothing_reads_a_body_nobody_minds_its_kind(stage: Stage) -> None:
    for path, status in (("/v1/responses", 404), ("/chat/completions", 404), ("/health", 405)):
        assert stage.client.post(path, content=b"a=b", headers={"content-type": "text/plain"}).status_code == status


def test_refusals_say_what_would_help(stage: Stage) -> None:
    def said(**headers: str) -> str:
        message: str = stage.client.post("/v1/chat/completions", content=b"{}", headers=headers).json()["error"][
            "message"
        ]
        return message

    assert said(host="evil.example").endswith("start it with --allow-host and the name")
    assert said(origin="http://evil.example").endswith("Start the server with --cors and the origin")
    assert "-H 'Content-Type: application/json'" in said(**{"content-type": "application/x-www-form-urlencoded"})


def test_whoever_has_no_key_is_told_how_to_send_it(stage: Stage) -> None:
    stage.options = Options(api_key=KEY)
    message = stage.client.get("/v1/models").json()["error"]["message"]
    assert message == "The key is missing or wrong. Send it as Authorization: Bearer KEY"


def test_a_body_that_says_it_is_too_large_is_refused_unread(stage: Stage) -> None:
    stage.options = Options(max_body_bytes=100)
    reply = stage.client.post("/v1/chat/completions", json={**BODY, "user": "x" * 100})
    assert reply.status_code == 413


def test_a_body_that_becomes_too_large_is_refused(stage: Stage) -> None:
    stage.options = Options(max_body_bytes=100)

    parts = iter([b"x" * 10] * 20)
    reply = stage.client.post("/v1/chat/completions", content=parts, headers={"content-type": "application/json"})
    assert reply.status_code == 413


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "٣"])
def test_a_length_that_is_none_is_refused(stage: Stage, length: str) -> None:
    headers = {b"content-length": length.encode(), b"content-type": b"application/json"}
    reply = stage.client.post("/v1/chat/completions", content=b"{}", headers=headers)
    assert reply.status_code == 400


def test_a_body_that_does_not_come_is_not_waited_for(stage: Stage) -> None:
    stage.options = Options(body_seconds=0.05)

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

        await stage.app()(scope, receive, send)
        return sent

    assert asyncio.run(ask())[0]["status"] == 408


def test_who_comes_when_it_is_full_is_refused_before_any_work(stage: Stage) -> None:
    stage.options = Options(max_requests=0)
    reply = stage.client.post("/v1/chat/completions", content=b"not even json")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert error_of(reply.json(), reply.headers["x-request-id"])["retryable"]
    assert stage.client.get("/health").status_code == 200
    assert stage.client.get("/ready").json()["status"] == "busy"
    assert stage.client.post("/v1/models").status_code == 405
    assert stage.client.post("/v1/models/v1/completions").status_code == 405
    assert stage.client.post("/v2/v1/completions").status_code == 404
    assert "mlxknife_refused_total 1.0" in stage.client.get("/metrics").text


def test_who_comes_when_it_is_full_is_refused_wherever_it_is_mounted(stage: Stage) -> None:
    stage.options = Options(max_requests=0)
    mounted = TestClient(Starlette(routes=[Mount("/llm", stage.app())]), base_url="http://localhost")
    too_large = {"content-length": "999999999999"}
    assert mounted.post("/llm/v1/completions", content=b"x", headers=too_large).status_code == 429
    assert mounted.post("/llm/v1/other", content=b"x", headers=too_large).status_code == 413


def test_all_bodies_together_have_a_limit_too(stage: Stage) -> None:
    stage.options = Options(max_body_bytes=1000, max_pending_bytes=1000)
    app = stage.app()
    app.state.front.bodies.held = 990
    client = TestClient(app, base_url="http://localhost")
    assert client.post("/v1/chat/completions", json=BODY).status_code == 429
    app.state.front.bodies.held = 0
    assert client.post("/v1/chat/completions", json=BODY).status_code == 200
    assert app.state.front.bodies.held == 0
