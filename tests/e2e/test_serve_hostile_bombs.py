"""Small bodies that expand, and large bodies: bounded time and bounded memory."""

from __future__ import annotations

import base64
import json
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.wire import Line, Reply, bounded, get, kilobytes, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = parrot_folder().name
_MODEL = json.dumps(MODEL).encode()
HELLO = b'[{"role":"user","content":"Hello!"}]'
DEEP = 100_000
MB = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(parrot_folder()) as server:
        with line(server.port) as one:
            one.ask(post(CHAT, chat(HELLO)))
        yield server
    assert "Traceback" not in server.stderr


@pytest.fixture(autouse=True)
def _bounds(server: FakeServer) -> Iterator[None]:
    with bounded(server.pid):
        yield


def chat(messages: bytes, more: bytes = b"") -> bytes:
    return b'{"model":%b,"messages":%b,"max_tokens":2%b}' % (_MODEL, messages, more)


def turn(content: bytes) -> bytes:
    return chat(b'[{"role":"user","content":%b}]' % content)


def image(url: bytes) -> bytes:
    return turn(b'[{"type":"image_url","image_url":{"url":"%b"}}]' % url)


def _png(side: int) -> bytes:
    """Return the head of an image of so many pixels each way, all of one colour."""
    size = side.to_bytes(4, "big")
    head = b"IHDR" + size + size + bytes([8, 6, 0, 0, 0])
    data = zlib.compress(bytes(MB), 9)
    chunks = [(head[4:], head[:4]), (data, b"IDAT"), (b"", b"IEND")]
    packed = b"".join(len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for c, k in chunks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + packed)


BOMBS: dict[str, tuple[str, bytes, set[int]]] = {
    "nested lists": (CHAT, b"[" * DEEP, {413}),
    "nested lists that end": (CHAT, b"[" * DEEP + b"]" * DEEP, {413}),
    "nested objects": (CHAT, b'{"a":' * DEEP + b"1" + b"}" * DEEP, {413}),
    "nested lists as messages": (CHAT, chat(b"[" * DEEP + b"]" * DEEP), {413}),
    "nested lists in an unknown field": (CHAT, chat(HELLO, b',"x":' + b"[" * DEEP + b"]" * DEEP), {413}),
    "nested lists in an unsupported field": (CHAT, chat(HELLO, b',"tools":' + b"[" * DEEP + b"]" * DEEP), {413}),
    "nested lists in a label": (CHAT, chat(HELLO, b',"metadata":' + b"[" * DEEP + b"]" * DEEP), {413}),
    "nested prompts": (TEXT, b'{"model":%b,"prompt":%b}' % (_MODEL, b"[" * DEEP + b"1" + b"]" * DEEP), {413}),
    "many small objects": (CHAT, chat(b"[" + b"{}," * 500_000 + b"{}]"), {413}),
    "many turns": (CHAT, chat(b"[" + b",".join([HELLO[1:-1]] * 100_000) + b"]"), {413}),
    "many parts": (CHAT, turn(b"[" + b",".join([b'{"type":"text","text":"a"}'] * 200_000) + b"]"), {413}),
    "many unknown fields": (CHAT, chat(HELLO, b"".join(b',"a%d":1' % n for n in range(300_000))), {413}),
    "one field many times": (CHAT, chat(HELLO, b',"max_tokens":1' * 300_000), {413}),
    "equal fields with different types": (CHAT, chat(HELLO, b',"max_tokens":1,"max_tokens":"x"'), {400}),
    "a long number": (CHAT, chat(HELLO, b',"seed":' + b"9" * MB), {400}),
    "a long fraction": (CHAT, chat(HELLO, b',"temperature":0.' + b"1" * MB), {200, 400}),
    "a number out of range": (CHAT, chat(HELLO, b',"temperature":1e999'), {400}),
    "a number out of range in an unsupported field": (CHAT, chat(HELLO, b',"store":1e999'), {400}),
    "a negative number out of range in an unsupported field": (
        TEXT,
        b'{"model":%b,"prompt":"a","best_of":-1e999}' % _MODEL,
        {400},
    ),
    "a large exponent": (CHAT, chat(HELLO, b',"top_k":1e400000000'), {400}),
    "a long text": (CHAT, turn(b'"' + b"a" * (7 * MB) + b'"'), {400}),
    "a long text of escapes": (CHAT, turn(b'"' + b"\\u2028" * MB + b'"'), {400}),
    "a long prompt": (TEXT, b'{"model":%b,"prompt":"%b"}' % (_MODEL, b"a " * (3 * MB)), {400}),
    "a long list of tokens": (TEXT, b'{"model":%b,"prompt":[%b1]}' % (_MODEL, b"1," * 400_000), {400}),
    "many prompts": (TEXT, b'{"model":%b,"prompt":[%b"a"]}' % (_MODEL, b'"a",' * 500_000), {413}),
    "a long name of a model": (CHAT, b'{"model":"%b","messages":%b}' % (b"a" * MB, HELLO), {400}),
    "many stops": (CHAT, chat(HELLO, b',"stop":[' + b'"a",' * 500_000 + b'"a"]'), {413}),
    "many biases": (
        CHAT,
        chat(HELLO, b',"logit_bias":{' + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}"),
        {413},
    ),
    "an image of many pixels": (CHAT, image(b"data:image/png;base64," + _png(60_000)), {422}),
    "an image of the letter A": (CHAT, image(b"data:image/png;base64," + b"A" * (7 * MB)), {422}),
    "an image of another type": (CHAT, image(b"data:text/html,<script>"), {422}),
    "an image from another host": (CHAT, image(b"http://169.254.169.254/latest/meta-data"), {422}),
    "an image from the disk": (CHAT, image(b"file:///etc/passwd"), {422}),
    "no text at all": (CHAT, b"\x00" * MB, {400}),
    "a part of a character": (CHAT, turn(b'"\xf0\x9f"'), {400}),
    "a byte order mark": (CHAT, b"\xef\xbb\xbf" + chat(HELLO), {400}),
    "UTF-16": (CHAT, chat(HELLO).decode().encode("utf-16"), {400}),
}


@pytest.mark.parametrize(("path", "body", "expected"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_or_answered(server: FakeServer, path: str, body: bytes, expected: set[int]) -> None:
    with line(server.port) as one:
        reply = one.ask(post(path, body))
    assert reply.status in expected, reply.body[:500]
    assert len(reply.body) < 5000
    if reply.status != 200:
        assert json.loads(reply.body)["status"] == "error"


@pytest.mark.parametrize(
    ("name", "param"), [("a long text", "messages"), ("a long prompt", "prompt"), ("a long list of tokens", "prompt")]
)
def test_the_error_of_a_prompt_that_is_too_long_names_its_field(server: FakeServer, name: str, param: str) -> None:
    path, body, _ = BOMBS[name]
    with line(server.port) as one:
        error = json.loads(one.ask(post(path, body)).body)["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)


def test_bombs_leak_no_memory(server: FakeServer) -> None:
    """Memory that one round of them leaves is reused by the next."""
    grown = []
    for _ in range(4):
        for path, body, _ in BOMBS.values():
            with line(server.port) as one:
                one.ask(post(path, body))
        grown.append(kilobytes(server.pid) // 1024)
    assert grown[-1] - grown[0] <= 24, grown


def test_a_running_stream_does_not_keep_the_body_of_its_request() -> None:
    large = b',"user":"%b","stream":true' % (b"a" * (7 * MB))
    body = chat(HELLO, large).replace(b'"max_tokens":2', b'"max_tokens":1500,"temperature":1')
    with FakeServer(parrot_folder(), 0.02) as server, ExitStack() as stack:
        lines = [stack.enter_context(line(server.port)) for _ in range(20)]
        lines[0].ask(post(CHAT, chat(HELLO)))
        with bounded(server.pid):
            for one in lines:
                one.send(post(CHAT, body))
                one.wait_for(b"data: ")


def test_a_bomb_stops_no_other_request(server: FakeServer) -> None:
    """Others are answered while it is processed."""
    with line(server.port) as bomber, line(server.port) as other:
        bomber.send(post(CHAT, BOMBS["a long text"][1]))
        assert other.ask(get("/health")).status == 200
        reply = bomber.reply()
        assert reply is not None
        assert reply.status == 400


def _first_reply(one: Line, parts: Iterator[bytes]) -> Reply:
    """Send until the server responds or closes the connection."""
    one.socket.settimeout(0)
    for part in parts:
        left = memoryview(part)
        while left:
            try:
                left = left[one.socket.send(left) :]
            except BlockingIOError:
                time.sleep(0.005)
            except (BrokenPipeError, ConnectionResetError):
                break
        try:
            if one.socket.recv(1, socket.MSG_PEEK):
                break
        except BlockingIOError:
            continue
    one.socket.settimeout(30)
    reply = one.reply()
    assert reply is not None
    return reply


def test_a_large_body_is_refused_by_its_content_length_before_it_is_read(server: FakeServer) -> None:
    head = post(CHAT, b"").replace(b"Content-Length: 0", b"Content-Length: 100000000")
    with line(server.port) as one:
        assert _first_reply(one, iter([head, *[bytes(MB)] * 100])).status == 413


def test_a_large_chunked_body_is_refused_when_it_becomes_too_large(server: FakeServer) -> None:
    head = post(CHAT, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (MB, b" " * MB)
    with line(server.port) as one:
        assert _first_reply(one, iter([head, *[chunk] * 100])).status == 413


def test_many_simultaneous_large_bodies_are_refused_before_they_fill_the_memory(server: FakeServer) -> None:
    """Thirty clients stop just before the end of seven megabytes: all bodies together have a limit."""
    body = b" " * (7 * MB)
    lines = [Line(server.port) for _ in range(30)]
    try:
        for one in lines:
            one.socket.settimeout(5)
            one.send(post(CHAT, body)[:-1])
        refused = 0
        for one in lines:
            one.socket.settimeout(0.3)
            try:
                refused += one.reply() is not None
            except TimeoutError:
                continue
        assert refused >= 20
    finally:
        for one in lines:
            one.close()
