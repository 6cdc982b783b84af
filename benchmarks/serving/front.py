"""Our front end without a model: the memory that it takes, and how fast it lists a cache of many models."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

from caches import make_cache
from processes import say

from serving.rounds import Found
from serving.servers import OURS, ours

MODELS = 200
_LIST = "/v1/models"


def look(home: Path, rounds: int, found: Found) -> None:
    """Start it without a model, list, and weigh it after that: the larger of its sizes counts."""
    say(f"making a cache of {MODELS}")
    make_cache(home, MODELS)
    server = ours(home, model=None)
    server.start(_LIST)
    if server.process is None:
        sys.exit(f"benchmark stopped: our server without a model {server.why_not}")
    try:
        fresh = resident_megabytes(server.process.pid)
        for number in range(rounds + 1):
            began = time.perf_counter()
            status, body = server.get(_LIST)
            spent = time.perf_counter() - began
            if status != http.client.OK or len(json.loads(body)["data"]) != MODELS:
                sys.exit(f"benchmark stopped: {status} {body[:200]!r} is no list of {MODELS} models")
            if number:
                found.round = number
                found.add("list", OURS, spent)
        found.add("memory", OURS, max(fresh, resident_megabytes(server.process.pid)))
    finally:
        server.stop()


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process, in millions of bytes."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        kilobytes = line.split()[1]
    else:
        kilobytes = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True
        ).stdout
    return int(kilobytes) * 1024 / 1e6
