"""Bodies with as many values as fit: in each field of each endpoint, and in a field that no endpoint has."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from mlxknife.http.apis.openai.bodies import ChatCompletionBody, CompletionBody, ContentPart, MessageBody
from tests.fakes.serving import NAME

_SHAPES = {
    "lists": (b"[", b"[1]", b"]"),
    "texts": (b"[", b'"a"', b"]"),
    "numbers": (b"[", b"1", b"]"),
    "objects": (b"[", b'{"role":"user","content":"","type":"text","text":""}', b"]"),
    "members": (b"{", b'"1":1', b"}"),
}
_REST = {
    "/v1/chat/completions": b'"max_tokens":1,"messages":[{"role":"user","content":"hi"}]',
    "/v1/completions": b'"max_tokens":1,"prompt":"hi"',
}


@attrs.frozen
class LargeBody:
    """One body."""

    path: str
    field: str
    shape: str
    content: bytes

    @property
    def name(self) -> str:
        return f"{self.path} {self.field}: {self.shape}"


def large_bodies(size: int, model: str = NAME) -> Iterator[LargeBody]:
    """Yield a body of about that many bytes for each field, the shapes in turns."""
    places = [
        *(("/v1/chat/completions", name) for name in ChatCompletionBody.__struct_fields__),
        *(("/v1/chat/completions", f"messages[0].{name}") for name in MessageBody.__struct_fields__),
        *(("/v1/chat/completions", f"messages[0].content[0].{name}") for name in ContentPart.__struct_fields__),
        *(("/v1/completions", name) for name in CompletionBody.__struct_fields__),
        *((path, "unknown") for path in _REST),
    ]
    shapes = list(_SHAPES)
    for number, (path, field) in enumerate(places):
        shape = "lists" if field in ("prompt", "messages") else shapes[number % len(shapes)]
        yield LargeBody(path, field, shape, _body(path, field, _filled(shape, size), model))


def _filled(shape: str, size: int) -> bytes:
    begin, value, end = _SHAPES[shape]
    return begin + b",".join([value] * (size // (len(value) + 1))) + end


def _body(path: str, field: str, value: bytes, model: str) -> bytes:
    """Return a body in which a field has a value; what the endpoint needs besides comes before it."""
    outer, _, inner = field.rpartition(".")
    if outer == "messages[0]":
        return b'{"model":"%b","max_tokens":1,"messages":[{"role":"user","content":"","%b":%b}]}' % (
            model.encode(),
            inner.encode(),
            value,
        )
    if outer:
        part = b'{"type":"text","text":"","%b":%b}' % (inner.encode(), value)
        return b'{"model":"%b","max_tokens":1,"messages":[{"role":"user","content":[%b]}]}' % (model.encode(), part)
    return b'{"model":"%b",%b,"%b":%b}' % (model.encode(), _REST[path], field.encode(), value)
