from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mlxknife.app import App
from mlxknife.cli.interrupts import heeded_interrupts
from mlxknife.cli.main import run_command_line


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _is_as_ever() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens() -> None:
    with heeded_interrupts():
        pass
    with pytest.raises(ValueError, match="another"), heeded_interrupts():
        int("another")
    assert _is_as_ever()


def _interrupted_before_an_error() -> None:
    signal.raise_signal(signal.SIGINT)
    pytest.fail("it went on")


def test_an_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), heeded_interrupts():
        _interrupted_before_an_error()
    assert _is_as_ever()


def test_a_swallowed_interrupt_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), heeded_interrupts(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert _is_as_ever()


def _fail() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        msg = "Encountered an error while initializing the extension."
        raise ImportError(msg) from None


def test_an_interrupt_that_became_another_error_is_raised_as_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), heeded_interrupts():
        _fail()
    assert _is_as_ever()


def test_an_ignored_signal_does_not_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with heeded_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _interrupted_at_once() -> App:
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("list",), ("run", "model", "Hello"), ("pull", "org/model")])
def test_only_a_json_consumer_gets_a_document_about_an_interrupt(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run_command_line([*words], _interrupted_at_once) == 130
    assert capsys.readouterr() == ("", "")
    assert run_command_line([*words, "--json"], _interrupted_at_once) == 130
    out, err = capsys.readouterr()
    error = {"type": "interrupted", "message": "Ctrl-C ended it"}
    assert json.loads(out) == {"status": "error", "command": words[0], "data": None, "error": error}
    assert err == ""
