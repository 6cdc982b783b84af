from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mlxknife.app import App
from mlxknife.cli.main import run_command_line
from mlxknife.cli.signals import propagate_interrupts


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _is_as_ever() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_nobody_interrupts_nothing_happens() -> None:
    with propagate_interrupts():
        pass
    with pytest.raises(ValueError, match="another"), propagate_interrupts():
        int("another")
    assert _is_as_ever()


def _interrupted_before_an_error() -> None:
    signal.raise_signal(signal.SIGINT)
    pytest.fail("it went on")


def test_an_interrupt_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _interrupted_before_an_error()
    assert _is_as_ever()


def test_one_that_was_swallowed_comes_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert _is_as_ever()


def _fail() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        msg = "Encountered an error while initializing the extension."
        raise ImportError(msg) from None


def test_one_that_became_another_error_is_one_all_the_same() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _fail()
    assert _is_as_ever()


def test_who_is_not_to_be_interrupted_is_not() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with propagate_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _interrupted_at_once() -> App:
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("list",), ("run", "model", "Hello"), ("pull", "org/model")])
def test_a_program_is_told_of_an_interrupt_and_a_person_is_not(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run_command_line([*words], _interrupted_at_once) == 130
    assert capsys.readouterr() == ("", "")
    assert run_command_line([*words, "--json"], _interrupted_at_once) == 130
    out, err = capsys.readouterr()
    error = {"type": "interrupted", "message": "Interrupted by Ctrl-C"}
    assert json.loads(out) == {"status": "error", "command": words[0], "data": None, "error": error}
    assert err == ""
