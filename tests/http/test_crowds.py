"""Crowds: more clients than there are places."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.http.servers import Process, chat, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


async def status_of(port: int) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(chat(stream=False))
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.read()
    writer.close()
    return head[9:12], head


async def crowd(process: Process, size: int) -> list[tuple[bytes, bytes]]:
    return await asyncio.gather(*(status_of(process.port) for _ in range(size)))


def test_a_crowd_gets_answers_or_is_asked_to_come_again() -> None:
    with serving({"max_requests": 20}, {"step_seconds": 0.1, "words": 5}) as process:
        process.ask(chat(stream=False))
        before = process.resident_kilobytes()
        replies = asyncio.run(crowd(process, 400))
        counted = Counter(status for status, _ in replies)
        assert set(counted) <= {b"200", b"429"}
        assert counted[b"200"] >= 20
        assert all(b"retry-after: " in head for status, head in replies if status == b"429")
        assert process.resident_kilobytes() - before < 64 * 1024
        assert process.metric("mlxknife_requests_in_flight") == 0


def test_whoever_sends_slowly_takes_no_place_from_others() -> None:
    with serving({"max_requests": 2}) as process:
        head, _, body = chat(stream=False).partition(b"\r\n\r\n")
        slow = [process.connect() for _ in range(10)]
        for client in slow:
            client.sendall(head + b"\r\n\r\n" + body[:1])
        assert process.ask(chat(stream=False)).startswith(b"HTTP/1.1 200 ")
        for client in slow[:2]:
            client.sendall(body[1:])
            assert client.recv(12) == b"HTTP/1.1 200"
        for client in slow:
            client.close()
