"""A machine for tests of ``mlx-tee``, and how its answers are read."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path

from tests.e2e.processes import Machine, Outcome
from tests.parrot import parrot_folder

LATE = 60


def desk_at(root: Path) -> Machine:
    """Make a machine with a parrot for a starter model."""
    machine = Machine(root)
    machine.home.mkdir()
    (machine.home / "starter").symlink_to(parrot_folder())
    return machine


def records(outcome: Outcome) -> list[dict[str, object]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def spoken(script: str) -> str:
    """Return a command that a shell runs, quoted for a line of bash."""
    return shlex.quote(f"sh -c {shlex.quote(script)}")


def wait_for(path: Path) -> str:
    """Return what stands in a file as soon as a whole line is there."""
    deadline = time.monotonic() + LATE
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text().strip()


def is_alive(pid: str) -> bool:
    """Tell whether a process does anything still: a dead one may wait for its parent."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, check=False, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")
