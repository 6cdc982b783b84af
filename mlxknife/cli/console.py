"""What a command may show and ask while it runs: notes, progress and prompts, all on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from mlxknife.cli.render.terminal import can_redraw
from mlxknife.cli.render.text import Line, Span, Style, print_line
from mlxknife.ports.system.progress import Progress


class Counter(Protocol):
    """Receives how much is done."""

    def count(self, done: int) -> None:
        """Show it, if it is time to."""
        ...


class _NoCounter:
    """See ``Counter``: shows nothing."""

    def count(self, done: int) -> None:
        """See ``Counter.count``."""


class Console:
    """The terminal of the user. With ``--json`` it shows nothing and asks nothing."""

    def __init__(self, *, as_json: bool) -> None:
        """Take whether the command prints JSON."""
        self._as_json = as_json

    @property
    def is_json(self) -> bool:
        """Whether the command prints one JSON document."""
        return self._as_json

    @property
    def can_prompt(self) -> bool:
        """Whether stdin and stderr are a terminal, so that the user can answer a question."""
        return not self._as_json and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, lines: Iterable[Line], question: str, *, default: bool = False) -> bool:
        """Print lines and a yes/no question; return True only for a yes, or for Enter if that is the default."""
        for line in lines:
            print_line(line, sys.stderr)
        sys.stderr.write(f"{question} {'[Y/n]' if default else '[y/N]'} ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:  # Ctrl-D
            sys.stderr.write("\n")
            return False
        word = answer.strip().lower()
        return default if not word else word in ("y", "yes")

    def note(self, line: Line) -> None:
        """Print a line for people. JSON output carries the same information in its document."""
        if not self._as_json:
            print_line(line, sys.stderr)

    def warn(self, text: str) -> None:
        """Print a warning on stderr, with ``--json`` too."""
        print_line((Span("warning: ", Style.WEAK), text), sys.stderr)

    def note_stopped(self, text: str = "stopped") -> None:
        """Print that Ctrl-C ended the work on a terminal, over the ``^C`` that the terminal echoed."""
        if not self._as_json and can_redraw(sys.stderr):
            sys.stderr.write("\r\x1b[K")
            self.note((Span(text, Style.FAINT),))

    def status(self, text: str) -> AbstractContextManager[object]:
        """Return a block that shows a status line on a terminal while it runs, if it takes longer than a second."""
        if self._as_json or not can_redraw(sys.stderr):
            return nullcontext()
        from mlxknife.cli.render.progress import StatusLine  # noqa: PLC0415 - most commands show no progress

        return StatusLine(sys.stderr, text)

    def counter(self, what: str) -> AbstractContextManager[Counter]:
        """Return a block that shows how much is done, on a terminal where nothing else is printed meanwhile."""
        if self._as_json or not can_redraw(sys.stderr) or sys.stdout.isatty():
            return nullcontext(_NoCounter())
        from mlxknife.cli.render.progress import CountLine  # noqa: PLC0415 - most commands show no progress

        return CountLine(sys.stderr, what)

    @property
    def progress(self) -> Progress | None:
        """A progress bar on a terminal, plain messages elsewhere, None with ``--json``."""
        if self._as_json:
            return None
        from mlxknife.cli.render.progress import PlainProgress, ProgressBar  # noqa: PLC0415 - most commands show none

        return ProgressBar(sys.stderr) if can_redraw(sys.stderr) else PlainProgress(sys.stderr)
