"""Clients in a process of their own, on raw sockets, so that they cost the machine little: ``client.py < ORDER``.

An order is a JSON document: ``port``, ``path`` and ``requests``. Each request has its ``body``; it waits until another
one has said so many tokens (``after``: number, tokens), until others have ended (``behind``), and then so many seconds
(``pause``); it is given up when others have ended (``close_with``). Nothing is looked at before all is over: while
bytes come, only the time and the bytes are noted. The answer is a JSON list, an entry for each request.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

_SAYS = re.compile(rb'"(?:content|text|reasoning|reasoning_content)": ?"[^"]')
_LIMIT = 240.0


class Conversation(asyncio.Protocol):
    """One request and its answer, noted as it comes."""

    def __init__(self, port: int, path: str, order: dict[str, Any]) -> None:
        """Take what is to be asked."""
        body = json.dumps(order["body"]).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.order = order
        self.sent = head.encode() + body
        self.began = 0.0
        self.said: list[tuple[float, bytes]] = []
        self.tokens = 0
        self.is_watched = False
        self.fault = ""
        self.is_given_up = False
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self.transport = transport
        transport.write(self.sent)

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.said.append((time.perf_counter(), data))
        if self.is_watched:
            self.tokens += len(_SAYS.findall(data))
            self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how it ended."""
        if exc is not None:
            self.fault = type(exc).__name__
        self.ended.set()
        self.changed.set()

    async def until(self, tokens: int) -> None:
        """Wait until the answer has so many tokens, or its end."""
        while self.tokens < tokens and not self.ended.is_set():
            self.changed.clear()
            await self.changed.wait()

    def give_up(self) -> None:
        """Go away."""
        self.is_given_up = True
        if self.transport is not None:
            self.transport.abort()
        self.ended.set()

    def account(self, start: float) -> dict[str, Any]:
        """Return all that can be said of it."""
        raw = b"".join(data for _, data in self.said)
        head, _, rest = raw.partition(b"\r\n\r\n")
        is_chunked = b"transfer-encoding: chunked" in head.lower()
        body, is_whole = _joined(rest) if is_chunked else (rest, True)
        events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        deltas = [choice.get("delta", choice) for event in events for choice in event.get("choices") or ()]
        text = "".join(delta.get("content") or delta.get("reasoning") or delta.get("text") or "" for delta in deltas)
        usage: dict[str, Any] = next((event["usage"] for event in reversed(events) if event.get("usage")), {})
        return {
            "status": int(head.split(b" ")[1]) if head else 0,
            "fault": self.fault,
            "is_whole": is_whole and b"data: [DONE]" in body,
            "is_given_up": self.is_given_up,
            "words": len(text.split()),
            "text": text,
            "usage": usage,
            "began": self.began - start,
            "moments": [when - start for when, data in self.said if _SAYS.search(data)],
            "ended": (self.said[-1][0] if self.said else self.began) - start,
            "refusal": "" if events else body[:300].decode("utf-8", "replace"),
        }


def _joined(data: bytes) -> tuple[bytes, bool]:
    """Return the body that came in chunks, and whether its end came."""
    parts = list[bytes]()
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return b"".join(parts), bool(size)
        parts.append(data[:length])
        data = data[length + 2 :]
    return b"".join(parts), False


async def _hold(port: int, every: list[Conversation], one: Conversation) -> None:
    after = one.order.get("after")
    if after is not None:
        await every[after[0]].until(after[1])
    for number in one.order.get("behind", ()):
        await every[number].ended.wait()
    if one.order.get("pause"):
        await asyncio.sleep(one.order["pause"])
    one.began = time.perf_counter()
    try:
        await asyncio.get_running_loop().create_connection(lambda: one, "127.0.0.1", port)
    except OSError as exc:
        one.fault = type(exc).__name__
        one.ended.set()
        one.changed.set()
        return
    until = [every[number].ended.wait() for number in one.order.get("close_with", ())]
    if until:
        await asyncio.gather(*until)
        one.give_up()
    await one.ended.wait()


async def _main() -> None:
    order = json.load(sys.stdin)
    every = [Conversation(order["port"], order["path"], asked) for asked in order["requests"]]
    for asked in order["requests"]:
        if asked.get("after"):
            every[asked["after"][0]].is_watched = True
    start = time.perf_counter()
    try:
        async with asyncio.timeout(_LIMIT):
            await asyncio.gather(*(_hold(order["port"], every, one) for one in every))
    except TimeoutError:
        for one in every:
            one.fault = one.fault or ("" if one.ended.is_set() else "TimeoutError")
    json.dump([one.account(start) for one in every], sys.stdout)


if __name__ == "__main__":
    asyncio.run(_main())
