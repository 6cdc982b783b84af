"""Arbitrary requests never cause an internal error, and every refusal of a field names it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from mlxknife.http.apis.openai.bodies import ChatCompletionBody, CompletionBody
from tests.fakes.serving import NAME, FakeBackend
from tests.http.conftest import BODY, TEXT

_NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.sampled_from([2**31, 2**63, -(2**63), 10**30, 1e308])
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, st.text(max_size=8), st.just(NAME))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
_FIELDS = st.sampled_from(sorted({*ChatCompletionBody.__struct_fields__, *CompletionBody.__struct_fields__}))
_MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "type", "text"]), _VALUES, max_size=4),
    max_size=3,
)
_CHANGES = st.dictionaries(_FIELDS, _VALUES, max_size=3)
_PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions"])


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(FakeBackend().app(), base_url="http://localhost") as client:
        yield client


def is_json(body: object) -> bool:
    """Return whether JSON can express a body: it has no infinite numbers."""
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:
        return False
    return True


@given(path=_PATHS, changes=_CHANGES, messages=st.one_of(st.none(), _MESSAGES))
def test_a_mutated_request_is_answered_or_refused_with_the_name_of_the_field(
    client: TestClient, path: str, changes: dict[str, object], messages: object
) -> None:
    whole = {**BODY, **TEXT, **({} if messages is None else {"messages": messages}), **changes}
    reply = client.post(path, content=json.dumps(whole), headers={"content-type": "application/json"})
    assert reply.status_code in (200, 400, 404, 422), reply.text
    if not is_json(whole):
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert error["param"] or "is not JSON" in error["message"], reply.text
    elif reply.status_code != 200 and "\\ud" not in json.dumps(whole):
        assert reply.json()["error"]["param"], reply.text


@given(path=_PATHS, body=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_arbitrary_bytes_are_refused(client: TestClient, path: str, body: bytes) -> None:
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400


@given(path=st.text(max_size=40), query=st.binary(max_size=20))
def test_no_path_causes_an_internal_error(client: TestClient, path: str, query: bytes) -> None:
    for start in ("", "v1/models/"):
        reply = client.get(url_safe(f"/{start}{path}"), params={"q": query.hex()})
        assert reply.status_code < 500


def url_safe(path: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else f"%{ord(char) % 256:02x}" for char in path)
