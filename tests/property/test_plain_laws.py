"""Requests that are read in one go: whatever is taken for one is the same request to the real parser."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from mlxknife.http.plain import LARGEST, PlainPost, plain_post
from mlxknife.http.visit import head_of

_PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions"])
_FIELDS = st.lists(
    st.tuples(st.from_regex(r"X-[A-Za-z0-9-]{1,8}", fullmatch=True), st.from_regex(r"[ -~]{0,20}", fullmatch=True)),
    max_size=6,
)
_BODIES = st.one_of(st.binary(max_size=200), st.just(b"POST /v1/completions HTTP/1.1\r\n\r\n"))
_INSERTS = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.sampled_from([
        b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b"\x7f", b"\xff", b":", b",", b"0", b"?x",
        b"\r\nTransfer-Encoding: chunked", b"\r\nContent-Length: 3", b"\r\ncontent-length:  0", b"\r\n folded",
        b"\r\nConnection: Upgrade\r\nUpgrade: h2c", b"\r\nExpect: 100-continue", b"\r\n:", b"\r\nX : y",
        b"\r\nConnection: close", b"\r\nX: \xc3\xa9", b"HTTP/1.0", b"http://a", b"%20",
    ]),
)  # fmt: skip
_CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), _INSERTS), max_size=2)
"""Where, how many bytes go, and what comes in their place."""
_LINES = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Content-Length: 3", b"content-length: 0",
    b"Expect: 100-continue", b"Upgrade: h2c", b"Trailer: X", b"TE: gzip", b" folded", b"\tfolded",
    b"no colon", b"X : y",
    b"X: a\rb", b"X: a\nContent-Length: 0", b"X: \0", b"X: \x7f", b"X\x80: y", b": no name", b"Content-Length:",
]  # fmt: skip


def _usual(path: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in (("Host", "localhost"), *fields, ("Content-Length", str(len(body))))]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


@given(path=_PATHS, fields=_FIELDS, body=_BODIES, changes=_CHANGES)
def test_what_is_taken_for_a_plain_request_is_the_same_to_the_parser(
    path: str, fields: list[tuple[str, str]], body: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    data = _usual(path, fields, body)
    for place, size, inserted in changes:
        at = place % len(data)
        data = data[:at] + inserted + data[at + size :]
    post = plain_post(data)
    event("left to the parser" if post is None else "whole" if post.size == len(data) else "its rest is to come")
    if post is not None:
        _check(post, data)


@given(path=_PATHS, fields=_FIELDS, body=_BODIES)
def test_every_request_of_the_usual_form_is_read(path: str, fields: list[tuple[str, str]], body: bytes) -> None:
    data = _usual(path, fields, body)
    whole = plain_post(data)
    assert whole is not None
    assert (whole.head.path, whole.size) == (path, len(data))
    _check(whole, data)
    for missing in {0, len(body) // 2, len(body)}:
        assert plain_post(data[: len(data) - missing]) == whole
    assert plain_post(data[: len(data) - len(body) - 1]) is None
    assert plain_post(data + b"x") is None


@pytest.mark.parametrize("line", _LINES)
@given(path=_PATHS, fields=_FIELDS, body=_BODIES, place=st.integers(0, 9))
def test_what_changes_the_meaning_of_the_rest_is_left_to_the_parser(
    line: bytes, path: str, fields: list[tuple[str, str]], body: bytes, place: int
) -> None:
    head, blank, rest = _usual(path, fields, body).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(1 + place % len(lines), line)
    assert plain_post(b"\r\n".join(lines) + blank + rest) is None


def test_what_has_many_fields_is_left_to_the_parser() -> None:
    usual = _usual("/v1/completions", [("X", "y")] * 50, b"x")
    assert plain_post(usual) is not None
    assert plain_post(usual.replace(b"X: y\r\n", b"X: y\r\nZ: y\r\n")) is None


def test_what_is_large_is_left_to_the_parser() -> None:
    head = b"POST /v1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
    small, large = (head % size + b"x" * size for size in (LARGEST - len(head) - 5, LARGEST))
    assert plain_post(small) is not None
    assert plain_post(large) is None


class _Parsed:
    """What the real parser makes of some bytes."""

    def __init__(self) -> None:
        self.url = b""
        self.fields = list[tuple[bytes, bytes]]()
        self.ends = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.ends += 1


def _check(post: PlainPost, data: bytes) -> None:
    """Fail unless the parser finds the same one request, which ends where it is said to end."""
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    whole = data + b"x" * (post.size - len(data))
    parser.feed_data(whole[:-1])
    assert parsed.ends == 0
    parser.feed_data(whole[-1:])
    assert parsed.ends == 1
    assert not parser.should_upgrade()
    method, path = parser.get_method().decode(), parsed.url.decode()
    assert head_of({"method": method, "path": path, "headers": parsed.fields}) == post.head
