"""Ctrl-Z in a shell with job control: ``run`` stops in the middle of an answer, and ``fg`` goes on with it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from mlxknife.cli.render.text import terminal_safe
from tests.e2e.breeding import endless_parrot
from tests.e2e.families import descendants, model_processes, processes
from tests.e2e.processes import BIN, Machine
from tests.e2e.serving import eventually
from tests.e2e.test_run import Bird
from tests.parrot.answers import LONG

pytestmark = pytest.mark.timeout(1200)

_OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
_PROMPT = "READY> "
_ASKING = "\x1b[?2004h"
"""What prompt_toolkit writes when it asks for a line."""
_CTRL_C, _CTRL_D, _CTRL_Z = "\x03", "\x04", "\x1a"
_MAX_WAIT = 60
_STATUS_LINE = re.compile(r"loading [^\r\n]*\r\x1b\[K")
_TOKENS = 1000
_CUT = f"Output cut at {_TOKENS} tokens (--max-tokens)\n"
_COMMAND = f"{BIN / 'mlxk'} run $BIRD '{LONG}' --max-tokens {_TOKENS}"


class Shell:
    """An interactive bash on a terminal of its own, without echo."""

    def __init__(self, bird: Bird) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO
        settings[3] |= termios.NOFLSH  # Ctrl-C and Ctrl-Z drop nothing that was printed before
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, "bash", "--norc", "--noprofile", "--noediting", "-i"],
            env=bird.environment(BIRD=str(bird.folder), NO_COLOR="1", PS1=_PROMPT),
            cwd=bird.machine.root,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.until(_PROMPT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in descendants(self._process.pid):
            os.kill(number, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        os.close(self._mine)

    def press(self, keys: str) -> None:
        os.write(self._mine, keys.encode())

    def until(self, mark: str) -> str:
        """Return what is shown up to a mark."""
        data = b""
        while not data.decode(errors="replace").endswith(mark) and (mark == _PROMPT or mark not in data.decode()):
            ready, _, _ = select.select([self._mine], [], [], _MAX_WAIT)
            assert ready, data
            data += os.read(self._mine, 65536)
        return _STATUS_LINE.sub("", data.decode()).replace("\r\n", "\n")

    def enter(self, line: str) -> str:
        """Type a line; return what is shown until the next prompt."""
        self.press(f"{line}\n")
        return self.until(_PROMPT).removesuffix(_PROMPT)

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing is shown for some seconds."""
        ready, _, _ = select.select([self._mine], [], [], seconds)
        return not ready

    def suspend(self, line: str) -> tuple[str, int]:
        """Type a command, and press Ctrl-Z when it has begun to answer; return its text so far and its process id."""
        self.press(f"{line}\n")
        shown = self.until("Once")
        self.press(_CTRL_Z)
        shown += self.until(_PROMPT)
        text, _, note = shown.removesuffix(_PROMPT).rpartition("\n[1]+  Stopped")
        assert note
        (stopped,) = [number for number, (parent, _) in processes().items() if parent == self._process.pid]
        return text, stopped


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    folder = endless_parrot(tmp_path_factory.mktemp("endless") / "bird")
    return Bird(Machine(tmp_path_factory.mktemp("machine")), folder)


@pytest.fixture
def shell(endless: Bird) -> Iterator[Shell]:
    with Shell(endless) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(endless: Bird) -> str:
    """Return the answer that is not suspended, as a terminal shows it."""
    return terminal_safe(endless.says(LONG, "--max-tokens", str(_TOKENS)))


def processor_seconds(number: int) -> float:
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_stopped(number: int) -> bool:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "T"


if sys.platform.startswith("linux"):  # /proc tells what a process does

    def test_a_suspended_run_and_its_model_do_nothing_until_it_goes_on(shell: Shell, whole: str) -> None:
        before, stopped = shell.suspend(_COMMAND)
        assert is_stopped(stopped)
        (model,) = model_processes(stopped)
        assert not is_stopped(model)
        used = processor_seconds(model)
        assert shell.is_silent(1.0)
        assert processor_seconds(model) - used < 0.3, "the model decodes nothing meanwhile"
        shown = shell.enter("fg")
        _, _, after = shown.partition("\n")  # bash repeats the command line
        assert before + after == whole + _CUT
        assert len(before) < len(whole)
        assert shell.enter("echo $?") == "0\n"
        eventually(lambda: not {stopped, model}.intersection(processes()))


def test_a_run_may_be_suspended_more_than_once(shell: Shell, whole: str) -> None:
    text, _ = shell.suspend(_COMMAND)
    shell.press("fg\n")
    shown = shell.until(LONG) + shell.until("\n")
    time.sleep(0.1)
    shell.press(_CTRL_Z)
    shown += shell.until(_PROMPT)
    more = shown.partition("\n")[2].rpartition("\n[1]+  Stopped")[0]
    assert text + more == whole[: len(text + more)]
    assert text + more + shell.enter("fg").partition("\n")[2] == whole + _CUT


def test_a_suspended_run_that_is_killed_leaves_no_process(shell: Shell) -> None:
    _, stopped = shell.suspend(_COMMAND)
    family = descendants(stopped)
    assert model_processes(stopped)
    os.kill(stopped, signal.SIGKILL)
    eventually(lambda: not family.intersection(processes()))


def test_ctrl_c_still_ends_a_run_that_was_suspended(shell: Shell) -> None:
    _, stopped = shell.suspend(_COMMAND)
    family = descendants(stopped)
    shell.press("fg\n")
    shell.until("run")
    time.sleep(0.1)
    shell.press(_CTRL_C)
    assert shell.until(_PROMPT).endswith(f"stopped\n{_PROMPT}")
    assert shell.enter("echo $?") == "130\n"
    eventually(lambda: not family.intersection(processes()))


def test_a_run_goes_on_in_the_background_and_in_a_file(shell: Shell, whole: str, endless: Bird) -> None:
    """What is written to a file needs no terminal, so that ``bg`` lets it go on."""
    shell.press(f"{_COMMAND} --out answer.txt > shown.txt\n")
    out = endless.machine.root / "answer.txt"
    eventually(lambda: out.exists() and len(out.read_bytes()) > 4)
    shell.press(_CTRL_Z)
    shell.until(_PROMPT)
    size = len(out.read_bytes())
    assert shell.is_silent(0.5)
    assert len(out.read_bytes()) == size
    shell.enter("bg")
    shell.enter("wait")
    assert terminal_safe((endless.machine.root / "shown.txt").read_text()) == whole


def test_a_chat_may_be_suspended_during_an_answer(shell: Shell, whole: str) -> None:
    shell.press(f"{BIN / 'mlxk'} run $BIRD --max-tokens {_TOKENS}\n")
    shell.until(_ASKING)
    shell.press(f"{LONG}\r")
    shown = shell.until("Once")
    shell.press(_CTRL_Z)
    shown += shell.until(_PROMPT)
    before = shown.rpartition("\n[1]+  Stopped")[0].partition("Once")[2]
    assert shell.is_silent(0.5)
    shell.press("fg\n")
    after = shell.until(_ASKING).partition("\n")[2].rpartition(_ASKING)[0]
    answer, _, note = f"Once{before}{after}".rpartition("Output cut at ")
    assert (answer, note.split("\n")[0]) == (whole, f"{_TOKENS} tokens (/set max_tokens)")
    assert before
    shell.press(_CTRL_D)
    shell.until(_PROMPT)
    assert shell.enter("echo $?") == "0\n"
