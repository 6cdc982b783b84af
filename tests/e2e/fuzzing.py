"""Generated malformed requests, and what a server must answer to each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import attrs

from mlxknife.http.options import Options
from tests.e2e.wire import Reply, get, post

Json = dict[str, Any]

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
_REFUSALS = (400, 403, 404, 405, 408, 413, 415, 422, 429, 431, 503)
_TOO_LARGE = 413
_UNNAMED = ("The body", "The request has no body")
"""What is said where no field can be named, because there are none."""

_WORDS = r"""null true false 0 -0 -1 5 1.5 1e999 -1e999 1e-999 0.1e1 2147483648 9223372036854775807
    9223372036854775808 -9223372036854775809 340282366920938463463374607431768211456 NaN Infinity -Infinity nan
    "" "5" "null" "\u0000" "\ud800" "\udfff\ud800" "\uffff" "/etc/passwd" "~" "../.." "{{7*7}}" "%s%n" "<|im_end|>"
    "<|im_start|>system" "<think>" [] {} [[]] [{}] [null] [1,"a"] ["a",1] [""] [0] [-1] [999999] [2147483648] [1e3]
    {"a":1} {"a":{"b":[]}} {"1":100} {"-1":1} {"1":"x"} {"01":1} {"1e3":1} {"type":"text"} {"type":"json_object"}
    [{"type":"text"}] [{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}] [{"role":"user"}]
    [{"type":"text","text":"Hello!"}]
    00 01 1. .1 +1 1e 'a' tru nulll [1,] {"a":} {"a":1,} {1:1} "\x" "\u12" """.split()
_LONG = (b'"' + b"a" * 5000 + b'"', b"[" * 2000, b"9" * 5000, b'{"a":' * 500)
_NASTY = (*(word.encode() for word in _WORDS), *_LONG, b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"a\nb"')


@attrs.frozen
class Shot:
    """A request, and whether its body could be read as one object of JSON."""

    path: str
    body: bytes

    @property
    def is_object(self) -> bool:
        """Whether there are fields that a refusal could name."""
        try:
            value = json.loads(self.body.decode(), parse_constant=_refuse)
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict)


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def samples(model: str) -> tuple[tuple[str, Json], ...]:
    """Return requests that are right, with every field in one of them."""
    both: Json = {"model": model, "max_tokens": 3, "seed": 7, "stop": ["x"], "temperature": 0.5, "top_p": 0.9}
    more: Json = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "frequency_penalty": 0.5, "n": 2, "stream": True}
    rest: Json = {"presence_penalty": -0.5, "logit_bias": {"65": 2}, "stream_options": {"include_usage": True}}
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello!"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]
    no_tools: Json = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "metadata": {"a": "b"}}
    schema: Json = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    function: Json = {"name": "add", "description": "adds", "parameters": schema, "strict": False}
    tools: Json = {"tools": [{"type": "function", "function": function}], "parallel_tool_calls": True}
    choice: Json = {"tool_choice": {"type": "function", "function": {"name": "add"}}}
    call: Json = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    called = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    results = [{"role": "tool", "content": "4", "tool_call_id": "call_1"}]
    form: Json = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    old: Json = {"functions": [function], "function_call": {"name": "add"}}
    return (
        (CHAT, {"model": model, "messages": turns[1:], "max_tokens": 3}),
        (CHAT, {"model": model, "messages": [*turns, *called, *results], "max_tokens": 3, **tools, **choice}),
        (CHAT, {"model": model, "messages": turns[1:], "max_tokens": 3, "response_format": form}),
        (CHAT, {"model": model, "messages": turns[1:], "max_tokens": 3, "structured_outputs": {"regex": "a+"}, **old}),
        (CHAT, {**both, **more, **rest, "messages": turns, "logprobs": True, "top_logprobs": 2}),
        (CHAT, {**both, "messages": parts, **no_tools, "user": "me", "store": False, "max_completion_tokens": 3}),
        (TEXT, {"model": model, "prompt": "Hello!", "max_tokens": 3}),
        (TEXT, {**both, **more, **rest, "prompt": ["a", "b"], "logprobs": 2}),
        (TEXT, {**both, "prompt": [[1, 2], [3]], "echo": True, "suffix": None, "best_of": 1}),
    )


def shots(model: str, random: Random) -> Iterator[Shot]:
    """Yield requests for ever: right ones with something wrong put into them, as values or as bytes."""
    rights = samples(model)
    ways: tuple[Callable[[Json, Random], bytes], ...] = (
        _replaced,
        _replaced,
        _replaced,
        _shuffled,
        _doubled,
        _scratched,
    )
    while True:
        path, document = random.choice(rights)
        yield Shot(path, random.choice(ways)(json.loads(json.dumps(document)), random))


def fault(shot: Shot, reply: Reply) -> str | None:
    """Return what is wrong with an answer; None where nothing is."""
    if reply.status == 200:
        return None if b'"status":"error"' not in reply.body else "an error under 200"
    if reply.status not in _REFUSALS:
        return f"status {reply.status}"
    try:
        document = json.loads(reply.body)
        error = document["error"]
        message, param = error["message"], error["param"]
    except (ValueError, LookupError, TypeError):
        return "no error document"
    if document["request_id"] != reply.header("x-request-id"):
        return "another request id"
    if reply.status == _TOO_LARGE:
        return None if len(shot.body) > Options().max_body_bytes else f"{len(shot.body)} bytes are no large body"
    is_named = bool(param) or (not shot.is_object and message.startswith(_UNNAMED)) or reply.status in (429, 503)
    return None if is_named else f"no field is named: {message}"


def _replaced(document: Json, random: Random) -> bytes:
    """Put nonsense where a value stands, somewhere in the document."""
    mark = "\u2603here"
    places = list(_places(document))
    for _ in range(random.choice((1, 1, 1, 2))):
        home, key = random.choice(places)
        home[key] = mark
    text = json.dumps(document, ensure_ascii=False).encode()
    marked = f'"{mark}"'.encode()
    while marked in text:
        text = text.replace(marked, random.choice(_NASTY), 1)
    return text


def _shuffled(document: Json, random: Random) -> bytes:
    """Let fields swap their values, or lose some."""
    keys = list(document)
    values = list(document.values())
    if random.random() < 0.5:
        random.shuffle(values)
        return json.dumps(dict(zip(keys, values, strict=True))).encode()
    for key in random.sample(keys, random.randint(1, len(keys))):
        del document[key]
    return json.dumps(document).encode()


def _doubled(document: Json, random: Random) -> bytes:
    """Say a field twice, in different ways, or say unknown ones."""
    key = random.choice([*document, "\u0000", "__proto__", "Model", "mess\u00e4ges", "a" * 1000])
    text = json.dumps(document).encode()
    return text[:-1] + b"," + json.dumps(key).encode() + b":" + random.choice(_NASTY) + b"}"


def _scratched(document: Json, random: Random) -> bytes:
    """Change, drop or put in single bytes."""
    text = bytearray(json.dumps(document).encode())
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(text) or 1)
        way = random.randrange(4)
        if way == 0:
            text[place : place + 1] = bytes([random.randrange(256)])
        elif way == 1:
            del text[place : place + random.randint(1, 8)]
        elif way == 2:
            text[place:place] = random.choice(
                (b"\x00", b"\xff", b'"', b"{", b"]", b"\\", b"\xef\xbb\xbf", b"1e400", b",")
            )
        else:
            del text[random.randrange(len(text) + 1) :]
    return bytes(text)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    """Yield every place of a document where a value stands, as what holds it and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def heads(model: str, random: Random) -> Iterator[bytes]:
    """Yield bytes for ever that were requests once."""
    body = json.dumps(samples(model)[0][1]).encode()
    rights = (
        post(CHAT, body),
        post(CHAT, body, "Expect: 100-continue"),
        post(CHAT, body, "Transfer-Encoding: chunked"),
        get("/v1/models"),
        get("/health") * 3,
        get("/v1/models/a%20b?c=d", "Accept: */*", "Cookie: a=b"),
    )
    bits = (
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"\xff",
        b"%",
        b"Host: x\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.1",
        b"//",
        b"\t",
    )
    while True:
        data = bytearray(random.choice(rights))
        for _ in range(random.randint(1, 5)):
            place = random.randrange(len(data) + 1)
            end = place + random.choice((0, 0, 1, 1, 2, 20))
            data[place:end] = random.choice((*bits, b"", bytes([random.randrange(256)]), random.randbytes(8)))
        yield bytes(data)
