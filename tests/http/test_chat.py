"""The chat endpoint: whole responses, streams, and errors before and after the first token."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mlxknife.domain.errors import (
    AmbiguousMatch,
    ContextLengthExceeded,
    EngineError,
    KnifeError,
    LocksPresent,
    ModelNotRunnable,
    NotEnoughMemory,
    ServerBusy,
    StorageError,
    TemplateError,
    ValidationError,
    WorkerLost,
)
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind
from mlxknife.domain.generation.values.request import Message
from mlxknife.http.options import Options
from tests.fakes.serving import HELLO, NAME, answer
from tests.fakes.system import FakeSystem
from tests.http.conftest import BODY, Backend, error_of


def events(backend: Backend, path: str = "/v1/chat/completions", **more: object) -> list[Any]:
    """Return the documents of a stream's events; ``data: [DONE]`` stays a string."""
    reply = backend.client.post(path, json={**BODY, **more, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = [line for line in reply.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines[:-1])
    has_failed = lines[-1].startswith("event: error\n")  # only the last event may have this name
    lines[-1] = lines[-1].removeprefix("event: error\n")
    found = [line if line.endswith("[DONE]") else json.loads(line.removeprefix("data: ")) for line in lines]
    assert has_failed == ("error" in found[-1])
    return found


def test_a_response_has_the_shape_of_openai(backend: Backend) -> None:
    document = backend.chat()
    assert document.pop("id").startswith("chatcmpl-")
    assert document.pop("created") > 1_700_000_000
    assert document == {
        "object": "chat.completion",
        "model": NAME,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello wörld", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


def test_a_stream_has_role_deltas_finish_reason_usage_and_done_in_this_order(backend: Backend) -> None:
    *chunks, done = events(backend, stream_options={"include_usage": True})
    assert done == "data: [DONE]"
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    first, *deltas, last = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert (first, last, chunks[-1]["choices"]) == ({"role": "assistant", "content": ""}, {}, [])
    assert deltas[0] == {"content": "Hel"}
    assert "".join(delta["content"] for delta in deltas) == "Hello wörld"
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert (set(reasons[:-1]), reasons[-1]) == ({None}, "stop")
    assert {chunk["usage"] for chunk in chunks[:-1]} == {None}
    assert chunks[-1]["usage"]["total_tokens"] == 8


def test_a_stream_has_no_usage_without_include_usage(backend: Backend) -> None:
    assert all("usage" not in chunk for chunk in events(backend)[:-1])


def test_reasoning_is_never_in_content(backend: Backend) -> None:
    backend.engine.answers = [answer("four", reasoning=["2+", "2"])]
    message = backend.chat()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("four", "2+2")
    deltas = [chunk["choices"][0]["delta"] for chunk in events(backend)[:-1]]
    assert deltas[1:4] == [{"reasoning_content": "2+"}, {"reasoning_content": "2"}, {"content": "four"}]


def test_several_answers_have_their_index_and_count_the_prompt_once(backend: Backend) -> None:
    document = backend.chat(n=3)
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
    assert document["usage"]["prompt_tokens"] == 5
    assert document["usage"]["completion_tokens"] == 9
    *chunks, _ = events(backend, n=2)
    assert [chunk["choices"][0]["index"] for chunk in chunks[:4]] == [0, 1, 0, 1]
    for index in (0, 1):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "Hello wörld"
        assert [choice["finish_reason"] for choice in own][-1] == "stop"


def test_logprobs_have_the_shape_of_openai(backend: Backend) -> None:
    first = backend.chat(logprobs=True, top_logprobs=1)["choices"][0]["logprobs"]["content"][0]
    other = {"token": "x", "logprob": -1.5, "bytes": [120]}
    assert first == {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": [other]}
    chunk = events(backend, logprobs=True)[1]
    assert chunk["choices"][0]["logprobs"]["content"][0]["token"] == "Hel"


def test_logprobs_come_with_the_text_not_with_the_reasoning(backend: Backend) -> None:
    both = Delta(texts=(TextDelta(TextKind.REASONING, "hm"), TextDelta(TextKind.ANSWER, "Hel")))
    end = Delta(finish_reason=FinishReason.STOP)
    backend.engine.answers = [[attrs.evolve(both, logprobs=HELLO[0].logprobs), end]]
    choices = [chunk["choices"][0] for chunk in events(backend, logprobs=True)[1:-1]]
    assert [choice["delta"] for choice in choices] == [{"reasoning_content": "hm"}, {"content": "Hel"}, {}]
    assert [choice["logprobs"] is not None for choice in choices] == [False, True, False]


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\u0085", "\x1c", "\r", "\n", "\x0b", "\x0c"])
def test_no_character_ends_the_line_of_an_event(backend: Backend, odd: str) -> None:
    backend.engine.answers = [answer(f"a{odd}b")]
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert all(line.startswith("data: ") for line in reply.text.splitlines() if line)
    assert events(backend)[1]["choices"][0]["delta"]["content"] == f"a{odd}b"


def test_every_field_reaches_the_domain(backend: Backend) -> None:
    backend.chat(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "me"},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": []},
            {"role": "tool", "content": "4", "tool_call_id": "x"},
        ],
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        min_p=0.1,
        repetition_penalty=1.1,
        seed=-1,
        stop=["x", "y"],
        frequency_penalty=1,
        presence_penalty=-1,
        logit_bias={"5": 2.5},
        logprobs=True,
        n=2,
    )
    (request,) = backend.engine.requests
    options, sampling = request.options, request.options.sampling
    assert request.messages == (
        Message("system", "be brief"),
        Message("user", "ab", name="me"),
        Message("assistant", "", reasoning_content="hm"),
        Message("tool", "4", tool_call_id="x"),
    )
    assert (options.max_tokens, options.stop, options.n, options.top_logprobs) == (7, ("x", "y"), 2, 0)
    assert (sampling.frequency_penalty, sampling.presence_penalty, sampling.logit_bias) == (1.0, -1.0, ((5, 2.5),))
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 3, 0.1)
    assert (sampling.repetition_penalty, sampling.seed) == (1.1, 2**63 - 1)


ERRORS: list[tuple[KnifeError, int, str | None]] = [
    (ValidationError("no", param="seed"), 400, "seed"),
    (AmbiguousMatch("many", matches=("a", "b")), 400, "model"),
    (ContextLengthExceeded("long", param="messages"), 400, "messages"),
    (ModelNotRunnable("no"), 422, "model"),
    (TemplateError("no", param="messages"), 422, "messages"),
    (NotEnoughMemory("big"), 507, "model"),
    (EngineError("broken"), 500, None),
    (WorkerLost("gone"), 503, None),
    (LocksPresent("locked"), 503, None),
    (StorageError("disk"), 500, None),
    (WorkerLost("crashed again", retry_after=8.0), 503, None),
    (ServerBusy("no renderer", retry_after=2.5), 503, None),
]


@pytest.mark.parametrize(("error", "status", "param"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", ["find", "load", "prepare", "generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_before_the_first_token_has_its_status(
    backend: Backend, error: KnifeError, status: int, param: str | None, place: str, *, stream: bool
) -> None:
    if place == "find":
        backend.models.find_error = error
    elif place == "load":
        backend.fail_to_load(error)
    elif place == "prepare":
        backend.engine.prepare_error = error
    else:
        backend.engine.failure = error
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": stream})
    assert reply.status_code == status
    sent = error_of(reply.json(), reply.headers["x-request-id"])
    assert (sent["type"], sent["param"]) == (error.code, param)
    assert ("retry-after" in reply.headers) == sent["retryable"] == (status in (429, 503))
    assert backend.leases == []


def test_retry_after_is_rounded_up_to_whole_seconds(backend: Backend) -> None:
    for error in (ServerBusy("full", retry_after=2.5), WorkerLost("crashed again", retry_after=2.5)):
        backend.models.find_error = error
        assert backend.client.post("/v1/chat/completions", json=BODY).headers["retry-after"] == "3"


def test_an_error_in_a_stream_is_its_last_event_and_there_is_no_done(backend: Backend) -> None:
    backend.engine.fails_at, backend.engine.failure = 2, WorkerLost("gone")
    *chunks, last = events(backend)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
    ]
    assert error_of(last, last["request_id"])["type"] == "worker_lost"
    assert backend.leases == []


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_of_one_answer_ends_all_answers_of_the_request(backend: Backend, *, stream: bool) -> None:
    backend.engine.answers = [answer("one"), HELLO]
    backend.engine.fails_at, backend.engine.failure = 2, EngineError("broken")
    if not stream:
        assert backend.refused({**BODY, "n": 3}, 500)["type"] == "generation_failed"
        return
    *chunks, last = events(backend, n=3)
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == 0]
    assert reasons[-1] == "stop", "the first answer ended before the error"
    assert error_of(last, last["request_id"])["type"] == "generation_failed"
    assert backend.leases == []
    assert [loaded.running for loaded in backend.pool.loaded()] == [0]


@pytest.mark.parametrize("stream", [True, False])
def test_a_crash_of_the_model_process_ends_the_request_and_the_next_one_works(
    backend: Backend, *, stream: bool
) -> None:
    backend.processes.step_seconds = 0.05
    portal = backend.client.portal
    assert portal is not None

    async def crash() -> None:
        while not (backend.processes.started and backend.processes.started[0].requests):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        backend.processes.started[0].crash()

    crashed = portal.start_task_soon(crash)
    if stream:
        reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": True})
        assert '"worker_lost"' in reply.text
        assert "[DONE]" not in reply.text
    else:
        error = backend.refused(BODY, 503)
        assert (error["type"], error["retryable"]) == ("worker_lost", True)
    crashed.result()
    assert backend.pool.loaded() == ()
    assert backend.chat()["choices"][0]["message"]["content"] == "Hello wörld"
    assert len(backend.processes.started) == 2


def test_an_unexpected_exception_reveals_nothing(backend: Backend) -> None:
    backend.models.find_error = RuntimeError("hf_abcdefghijklmnop at /home/me/x")
    error = backend.refused(BODY, 500)
    assert "hf_" not in error["message"]
    assert "/home" not in error["message"]
    assert error["type"] == "InternalError"


def test_errors_reveal_no_tokens_and_no_home_folders(backend: Backend) -> None:
    backend.models.find_error = StorageError("no hf_abcdefghijklmnop in /home/me/x")
    assert backend.refused(BODY, 500)["message"] == "no [REDACTED_TOKEN] in ~/x"


def test_a_well_formed_request_id_is_kept_and_another_is_replaced(backend: Backend) -> None:
    for given, is_kept in [("my-id.1", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("ü", False)]:
        reply = backend.client.get("/health", headers={b"X-Request-ID": given.encode("latin-1")})
        assert (reply.headers["x-request-id"] == given) == is_kept
        assert reply.headers["x-request-id"]


def test_a_silent_stream_is_kept_alive(backend: Backend) -> None:
    backend.options = Options(keep_alive_seconds=0.02)
    backend.processes.step_seconds = 0.1
    reply = backend.client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert ": keep-alive\n\n" in reply.text
    assert reply.text.endswith("data: [DONE]\n\n")


def test_it_works_mounted_without_start_up_events(backend: Backend) -> None:
    outer = Starlette(routes=[Mount("/llm", backend.app())])
    backend.pool.idle_seconds = 10.0
    client = TestClient(outer, base_url="http://localhost/llm")
    assert client.post("/v1/chat/completions", json=BODY).json()["choices"][0]["finish_reason"] == "stop"
    assert client.get("/v1/models/org/model").json()["id"] == NAME
    assert client.get("/nothing").json()["error"]["type"] == "not_found"
    assert isinstance(backend.pool.system, FakeSystem)
    backend.pool.system.time += 11.0
    client.get("/v1/models")
    assert backend.pool.loaded() == (), "the idle model is unloaded"


def test_a_shutdown_event_unloads_the_models(backend: Backend) -> None:
    with TestClient(backend.app(), base_url="http://localhost") as client:
        client.post("/v1/chat/completions", json=BODY)
        (process,) = backend.processes.started
        assert process.process_id is not None
    assert process.process_id is None
