"""``--reload``: a server that starts anew when the code of the product changes, for whoever works on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_GLANCE = 0.5
"""Seconds between two looks at the files, and how long a server may take to notice that it shall end."""
_CODE = Path(__file__).parents[1]


def serve_anew(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server, and run it again when a file changes; return its exit code when somebody ends it.

    One that fails by itself is not tried again before something changed.
    """
    with _passed_on() as supervised:
        while True:
            seen = _stamps()
            with subprocess.Popen(command, env=dict(environment)) as process:  # noqa: S603 - the command is our own
                supervised.process = process
                code = _ended(process, seen)
                if code is None:
                    process.terminate()
            if supervised.has_been_ended:
                return process.returncode
            if code is not None:
                sys.stderr.write(f"The server ended with {code}; waiting for a change\n")
                while _stamps() == seen and not supervised.has_been_ended:
                    time.sleep(_GLANCE)
                if supervised.has_been_ended:
                    return code
            sys.stderr.write("The code has changed: starting anew\n")


class _Supervised:
    process: subprocess.Popen[bytes] | None = None
    has_been_ended = False


@contextmanager
def _passed_on() -> Iterator[_Supervised]:
    """Pass on what asks for an end, except Ctrl-C, which the terminal itself gives to both."""
    supervised = _Supervised()

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        supervised.has_been_ended = True
        if number != signal.SIGINT and supervised.process is not None:
            supervised.process.send_signal(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield supervised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(process: subprocess.Popen[bytes], seen: Mapping[str, int]) -> int | None:
    """Return how a process ended, or None as soon as a file has changed."""
    while True:
        try:
            return process.wait(_GLANCE)
        except subprocess.TimeoutExpired:
            if _stamps() != seen:
                return None


def _stamps() -> dict[str, int]:
    stamps = {}
    for path in _CODE.rglob("*.py"):
        try:
            stamps[str(path)] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it has just been removed
            continue
    return stamps
