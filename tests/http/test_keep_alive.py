"""Keep-alive comments: a stream is not silent once its request is accepted; until then an error can have its status."""

from __future__ import annotations

import json
import signal

import pytest

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, NotEnoughMemory, WorkerLost
from mlxknife.http.options import Options
from tests.http.conftest import BODY, Backend, error_of
from tests.http.servers import chat, read_until, rest, serving

SILENCE = 0.02
LONG = 0.2
VERY_LONG = 3600.0
COMMENT = ": keep-alive\n\n"


def streamed(backend: Backend) -> str:
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return reply.text


def wait_in(backend: Backend, place: str) -> None:
    """Let a request take long in one place."""
    backend.options = Options(keep_alive_seconds=SILENCE)
    setattr(backend.processes, {"load": "load_seconds", "prepare": "prepare_seconds"}.get(place, "step_seconds"), LONG)


@pytest.mark.parametrize("place", ["load", "prepare", "generate"])
def test_a_stream_is_kept_alive_while_its_answer_is_generated_and_not_before(backend: Backend, place: str) -> None:
    wait_in(backend, place)
    text = streamed(backend)
    if place == "generate":
        assert text.startswith(COMMENT)
        assert text.count(COMMENT) > 1
    else:
        assert text.startswith("data: "), "nothing is sent before the request is accepted"
    assert text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(event[6:]) for event in text.split("\n\n") if event.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello wörld"


def test_a_whole_response_gets_no_comments_however_long_it_takes(backend: Backend) -> None:
    wait_in(backend, "generate")
    assert backend.chat()["choices"][0]["message"]["content"] == "Hello wörld"


@pytest.mark.parametrize(
    ("place", "error", "status"),
    [("load", NotEnoughMemory("big"), 507), ("prepare", ContextLengthExceeded("long", param="messages"), 400)],
)
def test_an_error_of_a_stream_has_its_status_however_long_it_takes(
    backend: Backend, place: str, error: KnifeError, status: int
) -> None:
    wait_in(backend, place)
    if place == "load":
        backend.fail_to_load(error)
    else:
        backend.engine.prepare_error = error
    assert backend.refused({**BODY, "stream": True}, status)["type"] == error.code
    assert backend.leases == []


def test_an_error_after_a_silence_is_an_event(backend: Backend) -> None:
    wait_in(backend, "generate")
    backend.engine.failure = WorkerLost("gone")
    text = streamed(backend)
    assert text.startswith(COMMENT)
    name, data = text.split("\n\n")[-2].split("\n")
    assert name == "event: error"
    document = json.loads(data.removeprefix("data: "))
    assert error_of(document, document["request_id"])["type"] == "worker_lost"
    assert "[DONE]" not in text
    assert backend.leases == []


@pytest.mark.parametrize("disconnects", [True, False])
@pytest.mark.parametrize("place", ["load_seconds", "prepare_seconds", "step_seconds"])
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_wait_ends_when_the_client_disconnects_and_when_the_server_stops(place: str, *, disconnects: bool) -> None:
    options = {"keep_alive_seconds": SILENCE, "grace_seconds": 0.0}
    with serving(options, {place: VERY_LONG}) as process, process.connect() as client:
        client.sendall(chat())
        if place == "step_seconds":
            assert read_until(client, b": keep-alive").startswith(b"HTTP/1.1 200 OK\r\n")
        else:
            process.wait_for("mlxknife_requests_in_flight", 1)
        is_running = place != "load_seconds"
        process.wait_for('mlxknife_requests_running{model="org/model"}', is_running)
        if disconnects:
            client.close()
            process.wait_for("mlxknife_requests_in_flight", 0)
            process.wait_for('mlxknife_requests_running{model="org/model"}', 0)
            assert process.end(signal.SIGTERM) == 0
            return
        assert process.end(signal.SIGTERM) == 0
        received = rest(client)
        assert b"The server is stopping" in received
        assert (b"event: error\n" in received) == (place == "step_seconds")
        assert received.startswith(b"HTTP/1.1 503 ") == (place != "step_seconds")
