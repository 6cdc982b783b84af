"""Keep-alive comments: a stream that waits for its model is not silent, and its errors are events."""

from __future__ import annotations

import json
import signal
import time

import pytest

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, NotEnoughMemory, WorkerLost
from mlxknife.http.options import Options
from tests.http.conftest import BODY, Backend, error_of
from tests.http.servers import Process, chat, read_until, rest, serving

SILENCE = 0.02
LONG = 0.2
VERY_LONG = 3600.0
COMMENT = ": keep-alive\n\n"
TIMEOUT = 20.0


def streamed(backend: Backend) -> str:
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return reply.text


@pytest.mark.parametrize("place", ["acquire", "prepare", "generate"])
def test_a_stream_that_waits_for_its_first_token_is_kept_alive(backend: Backend, place: str) -> None:
    backend.options = Options(keep_alive_seconds=SILENCE)
    if place == "acquire":
        backend.pool.load_seconds = LONG
    elif place == "prepare":
        backend.serving.prepare_seconds = LONG
    else:
        backend.pool.step_seconds = LONG
    text = streamed(backend)
    assert text.startswith(COMMENT)
    assert text.count(COMMENT) > 1
    assert text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(event[6:]) for event in text.split("\n\n") if event.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello wörld"


def test_all_phases_of_waiting_are_one_silence(backend: Backend) -> None:
    backend.options = Options(keep_alive_seconds=LONG)
    backend.pool.load_seconds = backend.serving.prepare_seconds = backend.pool.step_seconds = LONG / 2
    assert streamed(backend).startswith(COMMENT)


def test_a_whole_response_gets_no_comments_however_long_it_takes(backend: Backend) -> None:
    backend.options = Options(keep_alive_seconds=SILENCE)
    backend.pool.load_seconds = LONG
    assert backend.chat()["choices"][0]["message"]["content"] == "Hello wörld"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("acquire", NotEnoughMemory("big")),
        ("prepare", ContextLengthExceeded("long")),
        ("generate", WorkerLost("gone")),
    ],
)
def test_an_error_after_a_silence_is_an_event(backend: Backend, place: str, error: KnifeError) -> None:
    backend.options = Options(keep_alive_seconds=SILENCE)
    if place == "acquire":
        backend.pool.load_seconds, backend.pool.lease_error = LONG, error
    elif place == "prepare":
        backend.serving.prepare_seconds, backend.serving.prepare_error = LONG, error
    else:
        backend.pool.step_seconds, backend.pool.failure, backend.pool.fails_at = LONG, error, 0
    text = streamed(backend)
    assert text.startswith(COMMENT)
    name, data = text.split("\n\n")[-2].split("\n")
    assert name == "event: error"
    document = json.loads(data.removeprefix("data: "))
    assert error_of(document, document["request_id"])["type"] == error.code
    assert "[DONE]" not in text
    assert backend.pool.leases == []


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_wait_ends_when_the_client_leaves_and_when_the_server_stops(*, leaves: bool) -> None:
    options = {"keep_alive_seconds": SILENCE, "grace_seconds": 0.0}
    with serving(options, {"load_seconds": VERY_LONG}) as process, process.connect() as client:
        client.sendall(chat())
        start = read_until(client, b": keep-alive")
        assert start.startswith(b"HTTP/1.1 200 OK\r\n")
        assert process.metric("mlxknife_requests_in_flight") == 1
        if leaves:
            client.close()
            _wait_until_idle(process)
            assert process.end(signal.SIGTERM) == 0
        else:
            assert process.end(signal.SIGTERM) == 0
            received = rest(client)
            assert b"event: error\n" in received
            assert b"The server is stopping" in received


def _wait_until_idle(process: Process) -> None:
    end = time.monotonic() + TIMEOUT
    while process.metric("mlxknife_requests_in_flight"):
        assert time.monotonic() < end, "a request is still running"
        time.sleep(SILENCE)
