"""The line about what takes long."""

from __future__ import annotations

import io
import threading

import pytest

from mlxknife.cli.render.waiting import Waiting


class _Terminal(io.StringIO):
    """A terminal that tells when something is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_written = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.is_written.set()


def test_a_line_appears_after_a_delay_and_goes_with_the_work() -> None:
    terminal = _Terminal()
    with Waiting(terminal, "loading a\x1b[31m", patience=0.0):
        assert terminal.is_written.wait(60)
        assert terminal.getvalue() == "loading a\\x1b[31m ..."
    assert terminal.getvalue() == "loading a\\x1b[31m ...\r\x1b[K"


def test_quick_work_shows_no_line() -> None:
    terminal = _Terminal()
    with Waiting(terminal, "loading", patience=3600.0):
        pass
    assert terminal.getvalue() == ""


def test_the_line_goes_when_the_work_fails_or_is_stopped() -> None:
    terminal = _Terminal()

    def work() -> None:
        assert terminal.is_written.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Waiting(terminal, "loading", patience=0.0):
        work()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_long_name_does_not_make_a_second_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = _Terminal()
    with Waiting(terminal, "loading " + "x" * 90, patience=0.0):
        assert terminal.is_written.wait(60)
        assert len(terminal.getvalue()) == 39
