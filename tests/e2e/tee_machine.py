"""A machine for the tests of ``mlx-tee``, with a small model, and functions for its output."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path

from tests.e2e.processes import Machine, Outcome
from tests.parrot import parrot_folder

LATE = 60


def machine_with_starter(root: Path) -> Machine:
    """Make a machine with a tiny trained model as its starter."""
    machine = Machine(root)
    machine.home.mkdir()
    (machine.home / "starter").symlink_to(parrot_folder())
    return machine


def records(outcome: Outcome) -> list[dict[str, object]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def sh(script: str) -> str:
    """Return a ``sh -c`` command, quoted as one argument for bash."""
    return shlex.quote(f"sh -c {shlex.quote(script)}")


def wait_for(path: Path) -> str:
    """Wait until a file has a whole line, and return its text."""
    deadline = time.monotonic() + LATE
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text().strip()


def is_alive(pid: str) -> bool:
    """Return whether a process runs, and is no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, check=False, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")
