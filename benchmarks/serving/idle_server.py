"""Our server without a loaded model: its memory, and the time of ``GET /v1/models`` for a cache of many models."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

from caches import make_cache
from processes import log

from serving.rounds import Found
from serving.servers import OURS, ours

MODELS = 200
_LIST = "/v1/models"


def measure_idle(home: Path, rounds: int, found: Found) -> None:
    """Time the list, and record the larger of the memory before and after it."""
    log(f"creating a cache of {MODELS} models")
    make_cache(home, MODELS)
    server = ours(home, model=None)
    server.start(_LIST)
    if server.process is None:
        sys.exit(f"benchmark stopped: our server without a model {server.problem}")
    try:
        before = resident_megabytes(server.process.pid)
        for number in range(rounds + 1):
            started = time.perf_counter()
            status, body = server.get(_LIST)
            seconds = time.perf_counter() - started
            if status != http.client.OK or len(json.loads(body)["data"]) != MODELS:
                sys.exit(f"benchmark stopped: {status} {body[:200]!r} is not a list of {MODELS} models")
            if number:
                found.round = number
                found.add("list", OURS, seconds)
        found.add("memory", OURS, max(before, resident_megabytes(server.process.pid)))
    finally:
        server.stop()


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        kilobytes = line.split()[1]
    else:
        kilobytes = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True
        ).stdout
    return int(kilobytes) * 1024 / 1e6
