"""The person at the other end, if there is one: progress to show, questions to ask."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from mlxknife.cli.render.text import Line, Span, Style, print_line, wants_motion
from mlxknife.ports.system.progress import Progress


class Console:
    """What a command may do with a terminal while it works. Nothing of it ever goes to stdout."""

    def __init__(self, *, as_json: bool) -> None:
        """Note whether a program is waiting for the answer; a program is shown and asked nothing."""
        self._as_json = as_json

    @property
    def is_for_program(self) -> bool:
        """Whether a program is waiting for one document."""
        return self._as_json

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer a question."""
        return not self._as_json and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def confirms(self, lines: Iterable[Line], question: str) -> bool:
        """Show what a question is about and ask it; anything but a yes is a no."""
        for line in lines:
            print_line(line, sys.stderr)
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def say(self, line: Line) -> None:
        """Tell a person something on the way; a program reads it in the answer."""
        if not self._as_json:
            print_line(line, sys.stderr)

    def stopped(self) -> None:
        """Tell a person that Ctrl-C was heard; it wipes what the terminal made of the key."""
        if not self._as_json and wants_motion(sys.stderr):
            sys.stderr.write("\r\x1b[K")
            self.say((Span("stopped", Style.FAINT),))

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Tell a person at a terminal what takes long, once it does, until it is over."""
        if self._as_json or not wants_motion(sys.stderr):
            return nullcontext()
        from mlxknife.cli.render.waiting import Waiting  # noqa: PLC0415 - most commands are quick

        return Waiting(sys.stderr, what)

    @property
    def progress(self) -> Progress | None:
        """A progress bar where somebody can see it, remarks where it would be noise, nothing for a program."""
        if self._as_json:
            return None
        from mlxknife.cli.render.progress import Bar, Remarks  # noqa: PLC0415 - most commands are quick

        return Bar(sys.stderr) if wants_motion(sys.stderr) else Remarks(sys.stderr)
