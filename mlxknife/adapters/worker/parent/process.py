"""The operating system's side of a model process: it starts without a terminal, and ends with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from mlxknife.adapters.worker.parent.stderr_tail import StderrTail
from mlxknife.domain.engines.values import EngineKind

_SECRETS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "MLXK_API_KEY", "MLXK2_API_KEY"})
_FIRST_POLL, _LAST_POLL = 0.002, 0.25
"""Seconds until a killed process is polled again; they double between the two."""
_MAX_WAIT = 0.5
"""Seconds after which the exit status is given up; the process may hang in a driver."""


class SpawnedWorker:
    """A process in a session of its own: Ctrl-C does not reach it, and its whole group can be killed.

    It gets no token and no access to the Hub. Its output is logged.
    """

    def __init__(
        self,
        command: Sequence[str],
        descriptor: int,
        temporary_folder: str | None = None,
        likely: EngineKind = EngineKind.TEXT,
    ) -> None:
        """Start it. ``descriptor``, the id of this process and a kind other than text are its last arguments.

        Raises OSError.
        """
        kinds = () if likely is EngineKind.TEXT else (likely.value,)
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        if temporary_folder is not None:
            environment["TMPDIR"] = temporary_folder
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(  # noqa: S603 - the command is our own
            [*command, str(descriptor), str(os.getpid()), *kinds],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=(descriptor,),
            start_new_session=True,
            env=environment | {"HF_HUB_OFFLINE": "1"},
        )
        self._tail = StderrTail(self._process.stdout)

    @property
    def id(self) -> int | None:
        """The process id, until the process is gone."""
        return self._process.pid if self._process.returncode is None else None

    def output_tail(self) -> str:
        """Return the end of its output."""
        return self._tail.tail()

    def allow_more_output(self) -> None:
        """Allow more of its output into the log."""
        self._tail.allow_more()

    def kill(self, on_exit: Callable[[int | None], None] | None = None) -> None:
        """Kill it and its children.

        ``on_exit`` is called later with the exit status, negative for a signal, or None if the process does not end.
        """
        if self._process.returncode is None:
            # Until the process is reaped, no other group has its id. macOS refuses to signal a dead process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._loop.is_closed():
            self._process.wait()
            self._tail.close()
            return
        self._loop.call_soon(self._poll, on_exit, self._loop.time(), _FIRST_POLL)

    def _poll(self, on_exit: Callable[[int | None], None] | None, began: float, pause: float) -> None:
        status = self._process.poll()
        if on_exit is not None and (status is not None or self._loop.time() - began > _MAX_WAIT):
            self._tail.read()
            on_exit(status)
            on_exit = None
        if status is None:
            self._loop.call_later(pause, self._poll, on_exit, began, min(2 * pause, _LAST_POLL))
        else:
            self._tail.close()


def exit_description(status: int | None) -> str:
    """Return how a process ended, as the end of a sentence."""
    if status is None:
        return "does not respond and cannot be killed"
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
