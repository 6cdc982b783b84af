"""``--reload``: a supervisor that restarts the server when a Python file of the package changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_POLL_SECONDS = 0.5
"""The interval between two checks of the files."""
_PACKAGE = Path(__file__).parents[2]


def run_with_reload(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command and restart it after every change of a file. Return its exit code once a signal ends it.

    A command that ends by itself is started again only after a change.
    """
    with _forwarded_signals() as supervised:
        while True:
            before = _modification_times()
            with subprocess.Popen(command, env=dict(environment)) as process:  # noqa: S603 - we build the command
                supervised.process = process
                code = _exit_code(process, before)
                if code is None:
                    process.terminate()
            if supervised.is_ended:
                return process.returncode
            if code is not None:
                sys.stderr.write(f"The server ended with {code}; waiting for a change\n")
                while _modification_times() == before and not supervised.is_ended:
                    time.sleep(_POLL_SECONDS)
                if supervised.is_ended:
                    return code
            sys.stderr.write("The code has changed: restarting\n")


class _Supervised:
    process: subprocess.Popen[bytes] | None = None
    is_ended = False


@contextmanager
def _forwarded_signals() -> Iterator[_Supervised]:
    """Forward SIGTERM and SIGHUP to the process. The terminal itself sends Ctrl-C to both."""
    supervised = _Supervised()

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        supervised.is_ended = True
        if number != signal.SIGINT and supervised.process is not None:
            supervised.process.send_signal(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield supervised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(process: subprocess.Popen[bytes], before: Mapping[str, int]) -> int | None:
    """Return the exit code of a process, or None as soon as a file has changed."""
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if _modification_times() != before:
                return None


def _modification_times() -> dict[str, int]:
    times = {}
    for path in _PACKAGE.rglob("*.py"):
        try:
            times[str(path)] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it has just been removed
            continue
    return times
