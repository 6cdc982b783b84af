"""Clients that speak HTTP to a server on this machine: whole answers, and answers that come in events."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

PATIENCE = 30.0
"""Seconds after which anything counts as hanging."""


@attrs.frozen
class Reply:
    """A whole answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:  # noqa: ANN401 - whatever JSON it is
        return json.loads(self.body)

    def error(self) -> Any:  # noqa: ANN401
        """Return the error; a failure where there is none, or one that does not carry its request's id."""
        document = self.document()
        assert document["status"] == "error", document
        assert document["request_id"] == self.headers["x-request-id"]
        return document["error"]

    def text(self, index: int = 0) -> str:
        """Return what an answer says."""
        assert self.status == http.HTTPStatus.OK, self.body
        choice = self.document()["choices"][index]
        said: str = choice["text"] if "text" in choice else choice["message"]["content"]
        return said


@attrs.define(eq=False)
class Stream:
    """An answer that comes in events. Iterate over the chunks; afterwards ``error`` and ``is_done`` tell its end."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse
    error: Any = None
    """The document of the error event."""
    is_done: bool = False
    """Whether [DONE] came."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the chunks until the stream ends, by whatever end."""
        with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
            for line in self.response:
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name != "data":
                    continue
                if value == "[DONE]":
                    self.is_done = True
                    continue
                document = json.loads(value)
                if "error" in document:
                    self.error = document
                else:
                    yield document
        self.close()

    def begun(self) -> Stream:
        """Wait for the first words, so that the answer is known to run."""
        for chunk in self:
            if any(choice.get("text") or _said(choice) for choice in chunk["choices"]):
                break
        return self

    def close(self) -> None:
        """Go away."""
        self.response.close()
        self.connection.close()


@attrs.define
class Heard:
    """One answer, put together from a stream or taken from a document, so that the two can be compared."""

    content: str = ""
    reasoning: str = ""
    finish: str | None = None
    logprobs: list[Any] = attrs.field(factory=list)


@attrs.frozen
class Answers:
    """All answers to one request."""

    choices: list[Heard]
    usage: Any

    @property
    def texts(self) -> list[str]:
        return [choice.content for choice in self.choices]


def whole(document: Any) -> Answers:  # noqa: ANN401
    """Return the answers of a document."""
    return Answers([_added(Heard(), choice, "message") for choice in document["choices"]], document["usage"])


def gathered(stream: Stream) -> Answers:
    """Return the answers of a stream; a failure where it does not end well."""
    heard, usage = dict[int, Heard](), None
    for chunk in stream:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            so_far = heard.setdefault(choice["index"], Heard())
            assert so_far.finish is None, "something came after the end"
            _added(so_far, choice, "delta")
    assert stream.is_done, stream.error
    return Answers([heard[index] for index in sorted(heard)], usage)


def _added(heard: Heard, choice: Any, place: str) -> Heard:  # noqa: ANN401
    said = choice.get(place, {"content": choice.get("text")})
    heard.content += said.get("content") or ""
    heard.reasoning += said.get("reasoning_content") or ""
    heard.finish = choice["finish_reason"]
    logprobs = choice.get("logprobs") or {}
    heard.logprobs += logprobs.get("content") or _by_token(logprobs)
    return heard


def _by_token(logprobs: Any) -> list[Any]:  # noqa: ANN401
    """Return what the text endpoint tells in columns."""
    columns = ("tokens", "token_logprobs", "text_offset", "top_logprobs")
    return (
        [dict(zip(columns, row, strict=True)) for row in zip(*(logprobs[name] for name in columns), strict=True)]
        if logprobs
        else []
    )


def _said(choice: Any) -> str:  # noqa: ANN401
    delta = choice.get("delta", {})
    return delta.get("content") or delta.get("reasoning_content") or ""


def chat(model: str, question: str, **wishes: object) -> dict[str, object]:
    """Return the body of a request for one turn of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": question}], **wishes}


def sent(
    connection: http.client.HTTPConnection, path: str, body: object, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is None:
        connection.request("GET", path, headers=fields)
    else:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **fields})
    return connection.getresponse()
