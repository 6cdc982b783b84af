"""The server in this process, over fake models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from starlette.testclient import TestClient

from tests.fakes.serving import NAME, FakeBackend

Json = dict[str, Any]
BODY: Json = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
TEXT: Json = {"model": NAME, "prompt": "hi"}


@attrs.define(eq=False)
class Backend(FakeBackend):
    """What is behind a server, and a client of it on the same event loop."""

    _client: TestClient | None = None

    @property
    def client(self) -> TestClient:
        if self._client is None:
            self._client = TestClient(self.app(), base_url="http://localhost", raise_server_exceptions=True)
            self._client.__enter__()
        return self._client

    def chat(self, **more: object) -> Json:
        """Return the response document of the chat endpoint."""
        reply = self.client.post("/v1/chat/completions", json={**BODY, **more})
        assert reply.status_code == 200, reply.text
        document: Json = reply.json()
        return document

    def refused(self, body: object, status: int = 400, path: str = "/v1/chat/completions") -> Json:
        """Return the error of a refused request, after checking its document."""
        reply = self.client.post(path, json=body)
        assert reply.status_code == status, reply.text
        return error_of(reply.json(), reply.headers["x-request-id"])

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)


def error_of(document: Json, request_id: str) -> Json:
    assert list(document) == ["status", "error", "request_id"]
    assert (document["status"], document["request_id"]) == ("error", request_id)
    error: Json = document["error"]
    assert list(error) == ["type", "message", "param", "code", "retryable"]
    return error


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()
