"""Timing whole processes: the environments of the peers, the variables of a timed process, and the timing itself."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_REMOVED = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "MLXK_", "MLXK2_", "PYTHON", "XDG_")
"""Prefixes of variables that move the cache, or (PYTHONDONTWRITEBYTECODE) let a tool compile itself in every run."""


@dataclass(frozen=True)
class Case:
    """One command to time. ``home`` is its HF_HOME."""

    name: str
    command: tuple[str, ...]
    home: Path
    runs: int


@dataclass(frozen=True)
class Times:
    """The seconds of the runs of a case, sorted."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median in milliseconds."""
        return statistics.median(self.seconds) * 1000

    def summary(self) -> dict[str, float]:
        """Return the figures to save."""
        milliseconds = [second * 1000 for second in self.seconds]
        return {
            "runs": len(milliseconds),
            "median_ms": round(self.median, 2),
            "min_ms": round(milliseconds[0], 2),
            "max_ms": round(milliseconds[-1], 2),
        }


def make_environment(venv: Path, requirements: Sequence[str]) -> Path:
    """Return the ``bin`` folder of a venv with the requirements. It is created once and reused."""
    programs, stamp, content = venv / "bin", venv / ".requirements", "\n".join(requirements)
    if stamp.is_file() and stamp.read_text() == content:
        return programs
    log(f"installing {' '.join(requirements)}")
    shutil.rmtree(venv, ignore_errors=True)
    _checked_output([sys.executable, "-m", "venv", str(venv)])
    _checked_output(
        [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    )
    stamp.write_text(content)
    return programs


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in the environment of an interpreter."""
    code = "import json, sys; from importlib.metadata import version; "
    code += "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    found: dict[str, str] = json.loads(_checked_output([str(python), "-c", code, *packages]))
    return found


def output(command: Sequence[str], home: Path) -> str:
    """Return the output of a command in the environment of the timed processes. Exit if the command fails."""
    return _checked_output(command, timed_environment(home))


def measure(cases: Sequence[Case]) -> dict[str, Times]:
    """Time all cases in turns (A B C A B C), after one warm-up run of each."""
    for case in cases:
        log(f"warming up: {case.name}")
        output(case.command, case.home)
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    rounds = max(case.runs for case in cases)
    for number in range(rounds):
        log(f"round {number + 1} of {rounds}")
        for case in cases:
            if number < case.runs:
                seconds[case.name].append(_seconds(case))
    return {name: Times(tuple(sorted(found))) for name, found in seconds.items()}


def log(text: str) -> None:
    """Print progress on stderr; stdout is for the table."""
    print(text, file=sys.stderr, flush=True)


def timed_environment(home: Path) -> dict[str, str]:
    """Return the variables of a timed process, without those of the caller that move a tool to another cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
    empty = str(home / "empty")
    return kept | {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "MLXK_WORKSPACE_HOME": empty,
        "XDG_CONFIG_HOME": empty,
    }


def _seconds(case: Case) -> float:
    environment = timed_environment(case.home)
    start = time.perf_counter()
    done = subprocess.run(
        case.command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    end = time.perf_counter()
    if done.returncode != 0:
        sys.exit(f"benchmark stopped: {case.name} ended with {done.returncode}")
    return end - start


def _checked_output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as exc:
        sys.exit(f"benchmark stopped: {command[0]} cannot be run: {exc.strerror}")
    if done.returncode != 0:
        sys.exit(f"benchmark stopped: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
