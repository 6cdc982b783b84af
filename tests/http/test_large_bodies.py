"""A body with very many values is refused before it is decoded, and a large one is decoded beside the event loop."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.generation.values.request import Message
from mlxknife.http.core.body_values import MAX_COMPOUND, MAX_VALUES, check_values
from mlxknife.http.core.errors import BodyTooLarge
from tests.fakes.serving import NAME, FakeBackend
from tests.http.conftest import BODY, TEXT, Backend
from tests.http.large_bodies import large_bodies

_TEXTS = st.text(alphabet='ab,[]{}:"\\\n\u00e9\ud800', max_size=8)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(_TEXTS, inner, max_size=6)),
    max_leaves=30,
)


def compound_and_commas(value: object) -> tuple[int, int]:
    """Return the number of strings, lists and objects in a value, and that of the commas between values."""
    if isinstance(value, str):
        return 1, 0
    inner: list[object] = []
    commas = 0
    if isinstance(value, list):
        inner, commas = value, max(0, len(value) - 1)
    elif isinstance(value, dict):
        inner, commas = [*value.keys(), *value.values()], max(0, len(value) - 1)
    else:
        return 0, 0
    counted = [compound_and_commas(one) for one in inner]
    return 1 + sum(one[0] for one in counted), commas + sum(one[1] for one in counted)


def is_refused(body: bytes, max_compound: int, max_values: int) -> bool:
    try:
        check_values(body, max_compound, max_values)
    except BodyTooLarge:
        return True
    return False


@given(value=_VALUES, spaces=st.booleans())
def test_the_count_is_exact_whatever_is_in_the_strings(value: object, *, spaces: bool) -> None:
    body = json.dumps(value, separators=(", ", ": ") if spaces else (",", ":")).encode()
    compound, commas = compound_and_commas(value)
    assert not is_refused(body, compound, compound + commas)
    assert compound == 0 or is_refused(body, compound - 1, compound + commas)
    assert commas == 0 or is_refused(body, compound, compound + commas - 1)


@given(value=_VALUES, cut=st.integers(0, 100), rest=st.binary(max_size=20))
def test_a_mistake_hides_no_value_that_comes_before_it(value: object, cut: int, rest: bytes) -> None:
    whole = json.dumps([value, value]).encode()
    place = min(cut, len(whole))
    for limit in range(20):
        if is_refused(whole[:place], limit, limit):
            assert is_refused(whole[:place] + rest, limit, limit)


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
    assert status(f"[{','.join(['[1]'] * (MAX_COMPOUND - used - 1))}]") == 400
    assert status(f"[{','.join(['[1]'] * (MAX_COMPOUND - used))}]") == 413
    ids = MAX_VALUES - used - 1  # the list, and one comma fewer than numbers, and one between the fields
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
