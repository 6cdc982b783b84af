"""A body with very many values is refused before it is decoded, and a large one is decoded beside the event loop."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from mlxknife.domain.generation.values.request import Message
from mlxknife.http.core.limits import BODY_VALUES
from tests.fakes.serving import NAME, FakeBackend
from tests.http.conftest import BODY, TEXT, Backend
from tests.http.large_bodies import large_bodies


def test_many_values_in_any_field_are_refused_before_they_are_decoded(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec  # noqa: PLC0415 - it is replaced below

    def fail(*_: object, **__: object) -> object:
        msg = "the body was decoded"
        raise AssertionError(msg)

    bodies = list(large_bodies(1_100_000))
    assert len(bodies) > 30
    with monkeypatch.context() as patch:
        patch.setattr(msgspec.json, "decode", fail)
        for body in bodies:
            reply = backend.client.post(body.path, content=body.content, headers={"content-type": "application/json"})
            assert reply.status_code == 413, (body.name, reply.text)
            assert reply.json()["error"]["code"] == "request_too_large"


def test_a_large_body_is_decoded_beside_the_event_loop_and_a_small_one_is_not() -> None:
    async def decoding_threads() -> list[bool]:
        state = FakeBackend().app().state.server
        loop_thread = threading.get_ident()
        return [
            await state.decoded(lambda _: threading.get_ident(), bytes(size)) == loop_thread for size in (9, 99_999)
        ]

    assert asyncio.run(decoding_threads()) == [True, False]


def test_an_error_in_a_large_body_names_its_field(backend: Backend) -> None:
    assert backend.refused({**BODY, "temperature": 9, "user": "x" * 99_999})["param"] == "temperature"


def test_large_requests_that_make_sense_are_accepted(backend: Backend) -> None:
    text = 'one, two: {[three]} \\"' * 250_000
    backend.chat(messages=[{"role": "user", "content": text}])
    assert backend.engine.requests[-1].messages == (Message("user", text),)
    turns = [{"role": role, "content": [{"type": "text", "text": "hi"}]} for role in ("user", "assistant")] * 2048
    backend.chat(messages=turns)
    assert len(backend.engine.requests[-1].messages) == 4096
    tokens = list(range(200_000))
    reply = backend.client.post("/v1/completions", json={**TEXT, "prompt": tokens})
    assert reply.status_code == 200, reply.text
    assert backend.engine.requests[-1].prompts == (tuple(tokens),)


def test_the_limits_hold_exactly(backend: Backend) -> None:
    def status(prompt: str) -> int:
        body = '{"model":"%s","prompt":%s}' % (NAME, prompt)  # noqa: UP031 - the body is full of braces
        return backend.client.post(
            "/v1/completions", content=body, headers={"content-type": "application/json"}
        ).status_code

    used = 4  # the object, two names of fields and the name of the model
    assert status(f"[{','.join(['[1]'] * (BODY_VALUES.compound - used - 1))}]") == 400
    assert status(f"[{','.join(['[1]'] * (BODY_VALUES.compound - used))}]") == 413
    ids = BODY_VALUES.values - used - 1  # the list, and one comma fewer than numbers, and one between the fields
    assert status(f"[{','.join(['1'] * ids)}]") == 200
    assert status(f"[{','.join(['1'] * (ids + 1))}]") == 413


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\ud800 and more text", "\ud83d\n"])
def test_a_lone_surrogate_is_named(backend: Backend, text: str) -> None:
    reply = backend.client.post(
        "/v1/completions",
        content=json.dumps({"model": NAME, "prompt": text}),
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 400
    assert "lone surrogate" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [b'{"model":"m","prompt":"\\\\ud800', b'{"model":"m","prompt":"a', b'{"a":"\\ud83d\\ude00']
)
def test_a_body_that_is_cut_off_is_not_taken_for_one_with_a_lone_surrogate(backend: Backend, body: bytes) -> None:
    reply = backend.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert "is not JSON" in reply.json()["error"]["message"]
