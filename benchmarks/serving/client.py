"""Clients on raw sockets in one process, which costs little CPU: ``client.py < JOB``.

A job is a JSON document with ``port``, ``path`` and ``requests``. Each request has a ``body`` and may wait: until
another one has received some tokens (``after``: number, tokens), until others have ended (``behind``), then for some
seconds (``pause``). It disconnects when others have ended (``close_with``). While bytes arrive, the client records only
times and bytes, and parses them at the end. The result is a JSON list with an entry for each request.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

_DELTA = re.compile(rb'"(?:content|text|reasoning|reasoning_content)": ?"[^"]')
_TIMEOUT = 240.0


class RecordedRequest(asyncio.Protocol):
    """One request, and the recorded bytes of its response."""

    def __init__(self, port: int, path: str, spec: dict[str, Any]) -> None:
        """Take a request of a job."""
        body = json.dumps(spec["body"]).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.spec = spec
        self.message = head.encode() + body
        self.started = 0.0
        self.received: list[tuple[float, bytes]] = []
        self.tokens = 0
        self.counts_tokens = False
        self.fault = ""
        self.is_aborted = False
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Record the bytes and the time."""
        self.received.append((time.perf_counter(), data))
        if self.counts_tokens:
            self.tokens += len(_DELTA.findall(data))
            self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end."""
        if exc is not None:
            self.fault = type(exc).__name__
        self.ended.set()
        self.changed.set()

    async def wait_for_tokens(self, tokens: int) -> None:
        """Wait for a number of tokens, or for the end of the response."""
        while self.tokens < tokens and not self.ended.is_set():
            self.changed.clear()
            await self.changed.wait()

    def abort(self) -> None:
        """Disconnect."""
        self.is_aborted = True
        if self.transport is not None:
            self.transport.abort()
        self.ended.set()

    def result(self, start: float) -> dict[str, Any]:
        """Parse the response and return the result, with times relative to ``start``."""
        raw = b"".join(data for _, data in self.received)
        head, _, rest = raw.partition(b"\r\n\r\n")
        is_chunked = b"transfer-encoding: chunked" in head.lower()
        body, is_complete = _dechunked(rest) if is_chunked else (rest, True)
        events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        deltas = [choice.get("delta", choice) for event in events for choice in event.get("choices") or ()]
        text = "".join(delta.get("content") or delta.get("reasoning") or delta.get("text") or "" for delta in deltas)
        usage: dict[str, Any] = next((event["usage"] for event in reversed(events) if event.get("usage")), {})
        return {
            "status": int(head.split(b" ")[1]) if head else 0,
            "fault": self.fault,
            "is_complete": is_complete and b"data: [DONE]" in body,
            "is_aborted": self.is_aborted,
            "words": len(text.split()),
            "text": text,
            "usage": usage,
            "started": self.started - start,
            "token_times": [when - start for when, data in self.received if _DELTA.search(data)],
            "ended": (self.received[-1][0] if self.received else self.started) - start,
            "error": "" if events else body[:300].decode("utf-8", "replace"),
        }


def _dechunked(data: bytes) -> tuple[bytes, bool]:
    """Return the body of a chunked response, and whether it is complete."""
    parts = list[bytes]()
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return b"".join(parts), bool(size)
        parts.append(data[:length])
        data = data[length + 2 :]
    return b"".join(parts), False


async def _perform(port: int, requests: list[RecordedRequest], request: RecordedRequest) -> None:
    after = request.spec.get("after")
    if after is not None:
        await requests[after[0]].wait_for_tokens(after[1])
    for number in request.spec.get("behind", ()):
        await requests[number].ended.wait()
    if request.spec.get("pause"):
        await asyncio.sleep(request.spec["pause"])
    request.started = time.perf_counter()
    try:
        await asyncio.get_running_loop().create_connection(lambda: request, "127.0.0.1", port)
    except OSError as exc:
        request.fault = type(exc).__name__
        request.ended.set()
        request.changed.set()
        return
    ends = [requests[number].ended.wait() for number in request.spec.get("close_with", ())]
    if ends:
        await asyncio.gather(*ends)
        request.abort()
    await request.ended.wait()


async def _main() -> None:
    job = json.load(sys.stdin)
    requests = [RecordedRequest(job["port"], job["path"], spec) for spec in job["requests"]]
    for spec in job["requests"]:
        if spec.get("after"):
            requests[spec["after"][0]].counts_tokens = True
    start = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT):
            await asyncio.gather(*(_perform(job["port"], requests, request) for request in requests))
    except TimeoutError:
        for request in requests:
            request.fault = request.fault or ("" if request.ended.is_set() else "TimeoutError")
    json.dump([request.result(start) for request in requests], sys.stdout)


if __name__ == "__main__":
    asyncio.run(_main())
