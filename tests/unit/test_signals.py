from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO

import pytest

from mlxknife.app import App
from mlxknife.cli.main import run_command_line
from mlxknife.cli.signals import (
    default_interrupt_at_exit,
    deferred_interrupts,
    immediate_interrupts,
    pause_on_ctrl_z,
    propagate_interrupts,
)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _is_default() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_changes() -> None:
    with propagate_interrupts():
        pass
    with pytest.raises(ValueError, match="another"), propagate_interrupts():
        int("another")
    assert _is_default()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), SystemExit(0)])
def test_ctrl_c_while_the_interpreter_exits_is_no_traceback(error: BaseException | None) -> None:
    with suppress(KeyboardInterrupt, SystemExit), default_interrupt_at_exit():
        assert _is_default()
        if error is not None:
            raise error
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_an_ignored_ctrl_c_stays_ignored_at_exit() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with default_interrupt_at_exit():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
    pytest.fail("the interrupt was not raised")


def test_an_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _interrupt()
    assert _is_default()


def test_a_swallowed_interrupt_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert _is_default()


def _fail_to_import() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        msg = "Encountered an error while initializing the extension."
        raise ImportError(msg) from None


def test_an_interrupt_that_became_another_error_is_raised() -> None:
    with pytest.raises(KeyboardInterrupt), propagate_interrupts():
        _fail_to_import()
    assert _is_default()


def test_an_ignored_interrupt_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with propagate_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


# --- deferred interrupts


def test_the_first_interrupt_is_reported_and_the_second_is_raised() -> None:
    with deferred_interrupts() as is_interrupted:
        assert not is_interrupted()
        signal.raise_signal(signal.SIGINT)
        assert is_interrupted()
        with pytest.raises(KeyboardInterrupt):
            _interrupt()
    assert _is_default()


def test_a_reported_interrupt_is_not_raised_later() -> None:
    with deferred_interrupts() as is_interrupted:
        signal.raise_signal(signal.SIGINT)
    assert is_interrupted()
    assert _is_default()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda _number, _frame: None], ids=["ignored", "handled"])
def test_an_interrupt_that_is_ignored_or_handled_is_not_reported(
    handler: signal.Handlers | Callable[[int, object], None],
) -> None:
    signal.signal(signal.SIGINT, handler)
    with deferred_interrupts() as is_interrupted:
        signal.raise_signal(signal.SIGINT)
        assert not is_interrupted()
    assert signal.getsignal(signal.SIGINT) is handler


def _in_a_thread(work: Callable[[], object]) -> object:
    """Return what a function returns in another thread."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join(60)
    return results[0]


def test_another_thread_changes_no_handler() -> None:
    def work() -> tuple[bool, bool, bool]:
        with deferred_interrupts() as is_interrupted, pause_on_ctrl_z(pytest.fail, pytest.fail):
            is_suspended = signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL
            return is_interrupted(), _is_default(), is_suspended

    assert _in_a_thread(work) == (False, True, False)


# --- Ctrl-Z

_SUSPENDED = """
import signal
from mlxknife.cli.signals import pause_on_ctrl_z
say = lambda text: print(text, flush=True)
with pause_on_ctrl_z(lambda: say("pause"), lambda: say("resume")):
    for _ in range(2):
        signal.raise_signal(signal.SIGTSTP)
        say("continued")
assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
"""


def _line(pipe: IO[str] | None) -> str:
    assert pipe is not None
    return pipe.readline().strip()


def test_ctrl_z_pauses_stops_and_resumes_each_time() -> None:
    # A group of its own in our session: the kernel stops no process whose group has no parent in its session.
    with subprocess.Popen(
        [sys.executable, "-c", _SUSPENDED], stdout=subprocess.PIPE, text=True, process_group=0
    ) as child:
        for _ in range(2):
            assert _line(child.stdout) == "pause"
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            child.send_signal(signal.SIGCONT)
            assert [_line(child.stdout), _line(child.stdout)] == ["resume", "continued"]
        assert child.wait(60) == 0


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda _number, _frame: None], ids=["ignored", "handled"])
def test_ctrl_z_that_is_ignored_or_handled_pauses_nothing(
    handler: signal.Handlers | Callable[[int, object], None],
) -> None:
    before = signal.signal(signal.SIGTSTP, handler)
    try:
        with pause_on_ctrl_z(pytest.fail, pytest.fail):
            signal.raise_signal(signal.SIGTSTP)
        assert signal.getsignal(signal.SIGTSTP) is handler
    finally:
        signal.signal(signal.SIGTSTP, before)


# --- the whole command line


def _interrupted_at_once(*, reads_config: bool = True) -> App:
    del reads_config
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("list",), ("run", "model", "Hello"), ("pull", "org/model")])
def test_an_interrupt_is_silent_but_for_json(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert run_command_line([*words], _interrupted_at_once) == 130
    assert capsys.readouterr() == ("", "")
    assert run_command_line([*words, "--json"], _interrupted_at_once) == 130
    out, err = capsys.readouterr()
    error = {"type": "interrupted", "message": "Interrupted by Ctrl-C"}
    assert json.loads(out) == {"status": "error", "command": words[0], "data": None, "error": error}
    assert err == ""


def test_an_ignored_interrupt_stays_ignored_where_the_first_would_be_raised() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with immediate_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
