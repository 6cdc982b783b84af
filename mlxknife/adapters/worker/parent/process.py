"""The process of a model as its parent has it: started without a terminal, and ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from mlxknife.adapters.worker.parent.output_tail import LastWords

_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "MLXK_API_KEY", "MLXK2_API_KEY"})
_FIRST_LOOK, _LATER_LOOK = 0.002, 0.25
"""Seconds until a killed process is looked at again; it doubles between the two."""
_PATIENCE = 0.5
"""Seconds after which it is no longer waited for to learn how it ended; it may hang in a driver."""


class ModelProcess:
    """A process in a session of its own: a Ctrl-C is not its to hear, and its group can be ended whole.

    It gets no token and no network of the Hub. What it writes is logged; its exit is for whoever asks.
    """

    def __init__(self, command: Sequence[str], descriptor: int) -> None:
        """Start it; ``descriptor``, and the number of this process, stand behind the command. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._process = subprocess.Popen(  # noqa: S603 - the command is our own
            [*command, str(descriptor), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # neither is for anybody but the log
            bufsize=0,
            pass_fds=(descriptor,),
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name not in _TOKENS} | {"HF_HUB_OFFLINE": "1"},
        )
        self._words = LastWords(self._process.stdout)

    @property
    def number(self) -> int | None:
        """Its number, until it is gone."""
        return self._process.pid if self._process.returncode is None else None

    def words(self) -> str:
        """Return what it wrote last."""
        return self._words.tail()

    def allow_more_words(self) -> None:
        """Let some more of its lines into the log."""
        self._words.allow_more()

    def end(self, then: Callable[[int | None], None] | None = None) -> None:
        """Kill it and its children, and see to it that nothing is left of it.

        ``then`` is told its status later, the negative of a signal; None where it does not end in spite of all.
        """
        if self._process.returncode is None:
            # Until it is waited for, the number of its group is nobody else's. A Mac does not let a dead one be killed.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._loop.is_closed():
            self._process.wait()
            self._words.close()
            return
        began = self._loop.time()
        self._loop.call_soon(self._look, then, began, _FIRST_LOOK)

    def _look(self, then: Callable[[int | None], None] | None, began: float, pause: float) -> None:
        status = self._process.poll()
        if then is not None and (status is not None or self._loop.time() - began > _PATIENCE):
            self._words.read()
            then(status)
            then = None
        if status is None:
            self._loop.call_later(pause, self._look, then, began, min(2 * pause, _LATER_LOOK))
        else:
            self._words.close()


def ending(status: int | None) -> str:
    """Return how a process ended, as the end of a sentence."""
    if status is None:
        return "does not answer and cannot be ended"
    if status >= 0:
        return f"ended by itself, with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}"
