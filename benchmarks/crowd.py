"""A thousand clients of a full server: how long those it has no place for wait until they are told so.

``python -m benchmarks.crowd``, from the root of the project. Ours stands before an engine that takes its time; the peer
is bare uvicorn, the server that ours is made of, with an application of four lines that refuses everybody with fixed
bytes. The clients are one process on bare sockets, which send their requests at once, or head and body one after the
other, as most libraries do; the clock of each begins when its connection is there and ends with the last byte of its
refusal.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mlxknife.http.listening import allow_many_connections
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder

_CLIENTS = 1000
_CROWDS = ((0.0, False), (0.0, True), (1.0, False), (5.0, False))
"""Within how many seconds they come, and whether head and body come one after the other."""
_RUNS = 5
_STEP = 0.05
"""Seconds that the engine takes for a token."""
_ANSWERED, _REFUSED = 200, 429
_TARGET = 0.05
_OVER = 30.0
"""Seconds within which everybody who was taken in has been answered."""
_RESULTS = Path(__file__).parent / "results"
_OURS, _PEER = "ours", "bare uvicorn"
_BARE = """
import socket, sys, uvicorn
body = b'{"error": {"message": "full", "type": "server_full", "param": null, "code": "server_full"}}'
head = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"content-length", b"%d" % len(body))]
async def application(scope, receive, send):
    while (await receive()).get("more_body"):  # else some of those who send it late have their connection reset
        pass
    await send({"type": "http.response.start", "status": 429, "headers": head})
    await send({"type": "http.response.body", "body": body})
listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(application, http="httptools", lifespan="off", log_config=None, access_log=False, backlog=2048)
uvicorn.Server(config).run([listener])
"""


class _Client:
    """One client: it connects, asks, and takes the whole answer."""

    def __init__(self, port: int, parts: Sequence[bytes]) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)  # noqa: FBT003 - it has no name
        self.parts = parts
        self.began: float | None = None
        self.seconds = 0.0
        self.answer = b""
        self.socket.connect_ex(("127.0.0.1", port))

    def go_on(self) -> int | None:
        """Do what can be done; return what to wait for next, or None at the end."""
        if self.began is None:
            self.began = time.perf_counter()
            for part in self.parts:
                self.socket.send(part)
            return selectors.EVENT_READ
        data = self.socket.recv(65_536)
        self.answer += data
        if data:
            return selectors.EVENT_READ
        self.seconds = time.perf_counter() - self.began
        self.socket.close()
        return None

    @property
    def status(self) -> int:
        return int(self.answer[9:12])


def main() -> None:
    """Let crowds come to both servers in turns, print and save."""
    allow_many_connections()
    folder = parrot_folder()
    asked = {"model": folder.name, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
    body = json.dumps(asked).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    found: dict[tuple[float, bool, str], list[float]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(FakeServer(folder, _STEP))
        ports = {_OURS: ours.port, _PEER: stack.enter_context(_bare())}
        for port in ports.values():
            _crowd(port, [head, body], 4, 0.0)
        for _ in range(_RUNS):
            for within, is_apart in _CROWDS:
                for name, port in ports.items():
                    clients = _crowd(port, [head, body] if is_apart else [head + body], _CLIENTS, within)
                    found.setdefault((within, is_apart, name), []).append(_refusal(clients))
    _report(found)


@contextmanager
def _bare() -> Iterator[int]:
    """Lend the peer; give its port."""
    with subprocess.Popen([sys.executable, "-c", _BARE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for mypy
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _crowd(port: int, parts: Sequence[bytes], size: int, within: float) -> list[_Client]:
    """Let so many clients come within some seconds; return them when all have been answered."""
    clients, running = list[_Client](), 0
    start = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        while running or len(clients) < size:
            now = time.perf_counter() - start
            if now > within + _OVER:
                sys.exit(f"benchmark stopped: {running} of {size} clients have no answer")
            while len(clients) < size and now >= within * len(clients) / size:
                one = _Client(port, parts)
                clients.append(one)
                selector.register(one.socket, selectors.EVENT_WRITE, one)
                running += 1
            pause = within * len(clients) / size - now if len(clients) < size else 1.0
            for key, _ in selector.select(max(0.0, pause)):
                one = key.data
                waits_for = one.go_on()
                if waits_for is None:
                    selector.unregister(key.fd)
                    running -= 1
                elif waits_for != key.events:
                    selector.modify(key.fd, waits_for, one)
    return clients


def _refusal(clients: Sequence[_Client]) -> float:
    """Return the median of the seconds that refusals took."""
    refused = [one for one in clients if one.status == _REFUSED]
    others = {one.status for one in clients} - {_REFUSED, _ANSWERED}
    if others or not all(b"\r\nretry-after:" in one.answer.lower() for one in refused):
        sys.exit(f"benchmark stopped: statuses {sorted(others)}, or a refusal that does not say when to come again")
    return statistics.median(one.seconds for one in refused)


def _report(found: dict[tuple[float, bool, str], list[float]]) -> None:
    lines = [
        "| refusals, ms at the median | ours | bare uvicorn | ratio | target | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for within, is_apart in _CROWDS:
        ours, peer = found[within, is_apart, _OURS], found[within, is_apart, _PEER]
        middle = statistics.median(ours)
        ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, peer, strict=True))
        when = f"within {within:g} s" if within else "in one instant"
        cells = (
            f"{_CLIENTS} clients {when}{', head and body apart' if is_apart else ''}",
            f"{middle * 1000:.1f}",
            f"{statistics.median(peer) * 1000:.1f}",
            f"{ratio:.2f}",
            f"<= {_TARGET * 1000:.0f} ms",
            "yes" if middle <= _TARGET else "no",
        )
        lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(table)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    document = {
        "python": platform.python_version(),
        "machine": machine,
        "versions": {name: version(name) for name in ("uvicorn", "starlette", "httptools")},
        "ms": {
            f"{name}, {within:g} s{', apart' if is_apart else ''}": [round(one * 1000, 2) for one in seconds]
            for (within, is_apart, name), seconds in found.items()
        },
    }
    name = f"crowd-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# A crowd\n\n{machine}, Python {platform.python_version()}\n\n{table}\n")


if __name__ == "__main__":
    main()
