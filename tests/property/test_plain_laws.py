"""Requests that are read in one go: whatever is taken for one is the same request to the real parser."""

from __future__ import annotations

import httptools
from hypothesis import event, given
from hypothesis import strategies as st

from mlxknife.http.plain import LARGEST, plain_post
from mlxknife.http.visit import Head

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
    head = plain_post(data)
    event("read in one go" if head is not None else "left to the parser")
    if head is not None:
        _check(head, data)


@given(path=_PATHS, fields=_FIELDS, body=_BODIES)
def test_every_request_of_the_usual_form_is_read(path: str, fields: list[tuple[str, str]], body: bytes) -> None:
    data = _usual(path, fields, body)
    head = plain_post(data)
    assert head is not None
    assert head.path == path
    _check(head, data)
    assert plain_post(data[:-1]) is None
    assert plain_post(data + b"x") is None


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


def _check(head: Head, data: bytes) -> None:
    """Fail unless the parser finds the same one request, which ends where the bytes end."""
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    parser.feed_data(data[:-1])
    assert parsed.ends == 0
    parser.feed_data(data[-1:])
    assert parsed.ends == 1
    assert not parser.should_upgrade()
    assert parser.get_method().decode() == head.method
    assert parsed.url.decode() == head.path
    assert [(name, value.strip(b" \t")) for name, value in parsed.fields] == head.headers
