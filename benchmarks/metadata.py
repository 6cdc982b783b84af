"""Metadata at its limits: how much longer a listing takes with one such model, in a command and in the server.

Run it with ``python benchmarks/metadata.py``, on a quiet machine. Each cache has twenty small models, and one with
files that are as large as docs/pull-and-verify.md allows. The table has what that model adds to ``mlxk list --json``
and to ``GET /v1/models``, and the longest ``/health`` during the latter. The fastest of several runs counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from caches import make_cache
from processes import log, timed_environment

from tests.adapters.files_at_limits import MODELS
from tests.builder import CacheBuilder

_RESULTS = Path(__file__).resolve().parent / "results"
_MLXK = (sys.executable, "-m", "mlxknife")
_SMALL = 20
_RUNS = 7
_SERVER_RUNS = 3
_LISTING_AGE = 5.2
"""Seconds after which the server lists again."""
_HEALTH_PAUSE = 0.005
_TARGET = 200.0
_BASE = "no such model"
_ALL = next(reversed(MODELS))


@dataclass(frozen=True)
class Row:
    """What one model adds, in milliseconds; for the first row the listing without it."""

    what: str
    list_ms: float
    list_cpu_ms: float
    server_ms: float
    health_ms: float

    @property
    def met(self) -> str:
        """Return whether the target is met; it is for a file of one kind."""
        is_met = self.list_ms <= _TARGET and self.server_ms <= _TARGET
        return "" if self.what in (_BASE, _ALL) else "yes" if is_met else "no"

    def less(self, base: Row) -> Row:
        """Return what this listing took longer than another."""
        return Row(
            self.what,
            round(self.list_ms - base.list_ms, 1),
            round(self.list_cpu_ms - base.list_cpu_ms, 1),
            round(self.server_ms - base.server_ms, 1),
            self.health_ms,
        )


def main() -> None:
    """List each cache, print and save the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    base = _measured(_BASE)
    rows = [base, *(_measured(name).less(base) for name in MODELS)]
    text = _table(rows)
    print(text)
    _save(rows, text)


def _measured(name: str) -> Row:
    log(name)
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as folder:
        home = Path(folder)
        make_cache(home, _SMALL)
        (home / "empty").mkdir()
        if name in MODELS:
            CacheBuilder(home / "hub").model("org/large", MODELS[name]())
        runs = [_list(home) for _ in range(_RUNS)]
        server, health = _served(home)
    wall, cpu = (min(times) for times in zip(*runs, strict=True))
    return Row(name, *(round(seconds * 1000, 1) for seconds in (wall, cpu, server, health)))


def _list(home: Path) -> tuple[float, float]:
    """Return the seconds that a listing takes, and those of the processor."""
    began = time.perf_counter()
    with subprocess.Popen(
        (*_MLXK, "list", "--json"), env=timed_environment(home), stdout=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"benchmark stopped: list ended with {process.returncode}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


def _served(home: Path) -> tuple[float, float]:
    """Return the seconds of the fastest ``GET /v1/models``, and of the longest ``/health`` meanwhile."""
    with _server(home) as port:
        _get(port, "/v1/models")
        fastest, longest = float("inf"), 0.0
        for _ in range(_SERVER_RUNS):
            time.sleep(_LISTING_AGE)
            watcher = _HealthWatcher(port)
            watcher.start()
            fastest = min(fastest, _get(port, "/v1/models"))
            watcher.stop()
            longest = max(longest, watcher.longest)
    return fastest, longest


class _HealthWatcher(threading.Thread):
    """Asks for /health until it is stopped."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self._ended, self.longest = port, threading.Event(), 0.0

    def run(self) -> None:
        while not self._ended.wait(_HEALTH_PAUSE):
            self.longest = max(self.longest, _get(self._port, "/health"))

    def stop(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def _server(home: Path) -> Iterator[int]:
    command = [*_MLXK, "serve", "--port", "0", "--json", "--log-level", "error"]
    environment = timed_environment(home)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            lines = list[str]()
            for line in process.stdout or ():
                lines.append(line)
                if line == "}\n":
                    break
            yield int(json.loads("".join(lines))["data"]["url"].rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)


def _get(port: int, path: str) -> float:
    """Return the seconds that a request takes."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK:
        sys.exit(f"benchmark stopped: {path} is answered with {response.status}")
    return time.perf_counter() - began


def _table(rows: Sequence[Row]) -> str:
    head = "| one model with | list ms | list, processor ms | GET /v1/models ms | longest /health ms | met |"
    lines = [
        f"| {row.what} | {row.list_ms} | {row.list_cpu_ms} | {row.server_ms} | {row.health_ms} | {row.met} |"
        for row in rows
    ]
    note = f"The first row lists {_SMALL} small models, the others have what one more adds. Target: {_TARGET:g} ms"
    return "\n".join([head, "| --- " * 6 + "|", *lines, "", f"{note} for a file of one kind."])


def _save(rows: Sequence[Row], text: str) -> None:
    day = time.strftime("%Y-%m-%d")
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    name = f"metadata-{platform.system().lower()}-{platform.machine()}-{day}"
    document = {"date": day, "machine": machine, "load": load, "table": [asdict(row) for row in rows]}
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    page = f"# Metadata at its limits, {day}\n\n{text}\n\n{machine}; load {load}.\n"
    (_RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    log(f"saved as benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    main()
