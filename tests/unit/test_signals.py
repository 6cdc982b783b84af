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
def _restored_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _is_default_handler() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_the_block_changes_nothing() -> None:
    with propagate_interrupts():
        pass
    with pytest.raises(ValueError, match="another"), propagate_interrupts():
        int("another")
    assert _is_default_handler()


def _interrupt_then_fail() -> None:
    signal.raise_signal(signal.SIGINT)
    pytest.fail("the interrupt was not raised")


def test_an_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _interrupt_then_fail()
    assert _is_default_handler()


def test_a_swallowed_interrupt_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert _is_default_handler()


def _fail() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        msg = "Encountered an error while initializing the extension."
        raise ImportError(msg) from None


def test_an_interrupt_that_became_an_import_error_is_raised_again() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _fail()
    assert _is_default_handler()


def test_an_ignored_sigint_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with propagate_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _interrupted_app() -> App:
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("list",), ("run", "model", "Hello"), ("pull", "org/model")])
def test_an_interrupt_prints_a_document_with_json_and_nothing_without(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run_command_line([*words], _interrupted_app) == 130
    assert capsys.readouterr() == ("", "")
    assert run_command_line([*words, "--json"], _interrupted_app) == 130
    out, err = capsys.readouterr()
    error = {"type": "interrupted", "message": "Interrupted by Ctrl-C"}
    assert json.loads(out) == {"status": "error", "command": words[0], "data": None, "error": error}
    assert err == ""
