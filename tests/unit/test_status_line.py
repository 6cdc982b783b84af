"""The status line of long work."""

from __future__ import annotations

import io
import threading

import pytest

from mlxknife.cli.render.progress import StatusLine


class _Terminal(io.StringIO):
    """A terminal that sets an event when text is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_written = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.is_written.set()


def test_the_line_appears_after_the_delay_and_is_cleared_at_the_end() -> None:
    terminal = _Terminal()
    with StatusLine(terminal, "loading a\x1b[31m", delay=0.0):
        assert terminal.is_written.wait(60)
        assert terminal.getvalue() == "loading a\\x1b[31m ..."
    assert terminal.getvalue() == "loading a\\x1b[31m ...\r\x1b[K"


def test_quick_work_shows_no_line() -> None:
    terminal = _Terminal()
    with StatusLine(terminal, "loading", delay=3600.0):
        pass
    assert terminal.getvalue() == ""


def test_the_line_is_cleared_if_the_work_is_interrupted() -> None:
    terminal = _Terminal()

    def work() -> None:
        assert terminal.is_written.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), StatusLine(terminal, "loading", delay=0.0):
        work()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_long_text_is_cut_to_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = _Terminal()
    with StatusLine(terminal, "loading " + "x" * 90, delay=0.0):
        assert terminal.is_written.wait(60)
        assert len(terminal.getvalue()) == 39
