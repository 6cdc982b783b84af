"""What a process knows of itself, as one JSON document: ``python -P -m tests.fork_server.report``."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any

_MAX_DESCRIPTORS = 4096


def report() -> dict[str, Any]:
    """Return all that must not depend on how a process was started."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "main": __name__,
        "path": sys.path,
        "environment": dict(os.environ),
        "folder": _folder(),
        "parent": os.getppid(),
        "leads session": os.getsid(0) == os.getpid(),
        "session": os.getsid(0) if os.getsid(0) != os.getpid() else "own",
        "group": os.getpgid(0) if os.getpgid(0) != os.getpid() else "own",
        "umask": mask,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        "signals": {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "descriptors": _descriptors(),
        "streams": [_stream(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "command line": _text("/proc/self/cmdline"),
        "writes bytecode": not sys.dont_write_bytecode,
        "has MLX": "mlx" in sys.modules,
        "has the Hub": "huggingface_hub" in sys.modules,
    }


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _descriptors() -> list[int]:
    """Return the inheritable ones: the fork server's own descriptor in a program is not."""
    found = []
    for number in range(_MAX_DESCRIPTORS):
        with suppress(OSError):
            if os.get_inheritable(number):
                found.append(number)
    return found


def _stream(stream: Any) -> list[Any] | None:  # noqa: ANN401 - a text stream, or None
    if stream is None:
        return None
    names = ("encoding", "errors", "line_buffering", "write_through", "newlines", "name", "mode")
    return [type(stream.buffer).__name__, *(getattr(stream, name) for name in names)]


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().rstrip(b"\0").decode()


if __name__ == "__main__":
    json.dump(report(), sys.stdout)
