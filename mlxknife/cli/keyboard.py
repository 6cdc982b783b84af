"""The keyboard while an answer is printed: keys are not echoed into it, and Ctrl-C and Ctrl-Z still work."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol, TextIO

from mlxknife.cli.signals import exit_on_signals, pause_on_ctrl_z

_LOCAL_FLAGS = 3
"""The place of the flags in what ``termios.tcgetattr`` returns."""


class Pausable(Protocol):
    """Something that stops while a shell has the terminal."""

    def pause(self) -> None:
        """Stop until ``resume``."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class QuietKeyboard:
    """A terminal that does not echo what is typed. It is a ``Pausable``: a shell gets its settings back."""

    def __init__(self, terminal: TextIO, *, drops_keys: bool) -> None:
        """Take a stream on the terminal; ``drops_keys``: discard what was typed."""
        self._descriptor = terminal.fileno()
        self._drops_keys = drops_keys
        self._settings: list[Any] | None = None
        """The settings before."""
        self._is_asking = False

    def resume(self) -> None:
        """Echo nothing, except at a question. A process in the background leaves the terminal alone."""
        if self._is_asking or self._is_in_background():
            return
        with suppress(termios.error):  # the terminal is gone
            settings = termios.tcgetattr(self._descriptor)
            if settings[_LOCAL_FLAGS] & termios.ECHO:
                self._settings = list(settings)
                settings[_LOCAL_FLAGS] &= ~termios.ECHO
                termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)

    def pause(self) -> None:
        """Restore the settings."""
        if self._is_in_background():
            return
        with suppress(termios.error):  # the terminal is gone
            if self._drops_keys:
                termios.tcflush(self._descriptor, termios.TCIFLUSH)
            if self._settings is not None:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._settings)
        self._settings = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let the user see what is typed in the block."""
        self.pause()
        self._is_asking = True
        try:
            yield
        finally:
            self._is_asking = False
            self.resume()

    def _is_in_background(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) != os.getpgrp()
        except OSError:  # it is not the terminal of this session, which therefore controls nothing
            return False


@contextmanager
def answering(
    *parts: Pausable, terminal: TextIO | None, drops_keys: bool = False
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Print an answer in the block. The block gets a function whose blocks ask the user a question.

    Ctrl-Z pauses ``parts``, the last first. On ``terminal``, keys are not echoed meanwhile. They stay for the next
    program that reads them; ``drops_keys``: they are dropped.
    """
    if terminal is not None and terminal.isatty():
        exit_on_signals(signal.SIGTERM)  # so that the terminal is restored
        keyboard = QuietKeyboard(terminal, drops_keys=drops_keys)
        parts = (keyboard, *parts)
        keyboard.resume()
    else:
        keyboard = None

    def pause() -> None:
        for part in reversed(parts):
            part.pause()

    def resume() -> None:
        for part in parts:
            part.resume()

    try:
        with pause_on_ctrl_z(pause, resume):
            yield nullcontext if keyboard is None else keyboard.asking
    finally:
        if keyboard is not None:
            keyboard.pause()


def drop_typed(terminal: TextIO) -> None:
    """Forget the keys that were typed on a terminal, so that none of them answers the next question."""
    with suppress(termios.error, OSError):  # the terminal is gone
        termios.tcflush(terminal.fileno(), termios.TCIFLUSH)
