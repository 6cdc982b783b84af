"""Streams that nothing comes of yet: whoever waits for a model hears that the server lives."""

from __future__ import annotations

import json
import signal
import time

import pytest

from mlxknife.domain.errors import ContextLengthExceeded, KnifeError, NotEnoughMemory, WorkerLost
from mlxknife.http.options import Options
from tests.http.conftest import BODY, Stage, error_of
from tests.http.servers import Process, chat, read_until, rest, serving

SILENCE = 0.02
LONG = 0.2
FOR_EVER = 3600.0
COMMENT = ": keep-alive\n\n"
PATIENCE = 20.0


def streamed(stage: Stage) -> str:
    reply = stage.client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return reply.text


@pytest.mark.parametrize("place", ["claim", "prepare", "answer"])
def test_who_waits_for_the_first_token_hears_that_the_server_lives(stage: Stage, place: str) -> None:
    stage.options = Options(keep_alive_seconds=SILENCE)
    if place == "claim":
        stage.residents.load_seconds = LONG
    elif place == "prepare":
        stage.serving.prepare_seconds = LONG
    else:
        stage.residents.step_seconds = LONG
    told = streamed(stage)
    assert told.startswith(COMMENT)
    assert told.count(COMMENT) > 1
    assert told.endswith("data: [DONE]\n\n")
    said = [json.loads(event[6:]) for event in told.split("\n\n") if event.startswith("data: {")]
    deltas = [one["choices"][0]["delta"] for one in said]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello wörld"


def test_all_that_a_request_waits_for_is_one_silence(stage: Stage) -> None:
    stage.options = Options(keep_alive_seconds=LONG)
    stage.residents.load_seconds = stage.serving.prepare_seconds = stage.residents.step_seconds = LONG / 2
    assert streamed(stage).startswith(COMMENT)


def test_an_answer_that_is_no_stream_comes_whole_however_long_it_takes(stage: Stage) -> None:
    stage.options = Options(keep_alive_seconds=SILENCE)
    stage.residents.load_seconds = LONG
    assert stage.chat()["choices"][0]["message"]["content"] == "Hello wörld"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("claim", NotEnoughMemory("big")),
        ("prepare", ContextLengthExceeded("long")),
        ("answer", WorkerLost("gone")),
    ],
)
def test_an_error_after_a_silence_is_an_event(stage: Stage, place: str, error: KnifeError) -> None:
    stage.options = Options(keep_alive_seconds=SILENCE)
    if place == "claim":
        stage.residents.load_seconds, stage.residents.claim_error = LONG, error
    elif place == "prepare":
        stage.serving.prepare_seconds, stage.serving.prepare_error = LONG, error
    else:
        stage.residents.step_seconds, stage.residents.failure, stage.residents.fails_at = LONG, error, 0
    told = streamed(stage)
    assert told.startswith(COMMENT)
    name, data = told.split("\n\n")[-2].split("\n")
    assert name == "event: error"
    document = json.loads(data.removeprefix("data: "))
    assert error_of(document, document["request_id"])["type"] == error.code
    assert "[DONE]" not in told
    assert stage.residents.claims == []


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_wait_ends_when_the_client_leaves_and_when_the_server_stops(*, leaves: bool) -> None:
    options = {"keep_alive_seconds": SILENCE, "grace_seconds": 0.0}
    with serving(options, {"load_seconds": FOR_EVER}) as process, process.connect() as client:
        client.sendall(chat())
        begun = read_until(client, b": keep-alive")
        assert begun.startswith(b"HTTP/1.1 200 OK\r\n")
        assert process.metric("mlxknife_requests_in_flight") == 1
        if leaves:
            client.close()
            _until_nobody_waits(process)
            assert process.end(signal.SIGTERM) == 0
        else:
            assert process.end(signal.SIGTERM) == 0
            told = rest(client)
            assert b"event: error\n" in told
            assert b"The server is stopping" in told


def _until_nobody_waits(process: Process) -> None:
    end = time.monotonic() + PATIENCE
    while process.metric("mlxknife_requests_in_flight"):
        assert time.monotonic() < end, "it still waits"
        time.sleep(SILENCE)
