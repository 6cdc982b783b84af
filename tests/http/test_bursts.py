"""Bursts: more simultaneous clients than the server admits."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.http.servers import Process, chat, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


async def response(port: int, *, body_comes_later: bool) -> tuple[bytes, bytes, bool]:
    """Return the status, the whole response, and whether the body came later; a reset is raised.

    The client would keep its connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head, _, body = chat(stream=False, close=False).partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n" + (b"" if body_comes_later else body))
    if body_comes_later:
        await asyncio.sleep(0.01)
        writer.write(body)
    start = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"connection: close" in start:
        content = await reader.read()
    else:
        content = await reader.readexactly(int(start.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
    return start[9:12], start + content, body_comes_later


async def burst(process: Process, size: int) -> list[tuple[bytes, bytes, bool]]:
    clients = (response(process.port, body_comes_later=bool(number % 2)) for number in range(size))
    return await asyncio.gather(*clients)


def test_a_refused_request_gets_429_and_its_connection_is_closed_and_none_is_reset() -> None:
    with serving({"max_requests": 20}, {"step_seconds": 0.1, "words": 5}) as process:
        process.ask(chat(stream=False))
        before = process.resident_kilobytes()
        responses = asyncio.run(burst(process, 400))
        counts = Counter(status for status, _, _ in responses)
        assert set(counts) <= {b"200", b"429"}
        assert counts[b"200"] >= 20
        for status, whole, body_comes_later in responses:
            assert whole.endswith(b"}")
            assert (b"\r\nretry-after: " in whole) == (status == b"429")
            if not body_comes_later:  # such a connection may stay open until the body has been read
                assert (b"\r\nconnection: close" in whole) == (status == b"429")
        assert process.resident_kilobytes() - before < 64 * 1024
        assert process.metric("mlxknife_requests_in_flight") == 0


def test_clients_that_send_slowly_take_no_slot_from_others() -> None:
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
