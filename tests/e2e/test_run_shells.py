"""``run`` in command lines of bash, typed at a terminal and run as a script, with the same results."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest

from tests.e2e.breeding import endless_parrot, is_beginning
from tests.e2e.processes import Machine
from tests.e2e.test_run import SUM, Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, LONG, REASONING

pytestmark = pytest.mark.timeout(1200)

_OWN_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Begins a program as a terminal does: its Ctrl-C reaches it, and a broken pipe ends what does not ask otherwise."""
_WAITING = re.compile(r"loading [^\r\n]*\r\x1b\[K")
"""What a slow machine says meanwhile, and wipes."""
_MUST_END = 60
_STATUS = "; echo ${PIPESTATUS[@]}"


@attrs.frozen
class Ran:
    """What is seen of a line of bash, on stdout and stderr together, and the exit codes that it tells last."""

    shown: str
    statuses: str

    @classmethod
    def of(cls, text: str) -> Ran:
        shown, _, statuses = text.rstrip("\n").rpartition("\n")
        return cls(f"{shown}\n" if shown else "", statuses)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.fixture(scope="module")
def endless(bird: Bird, tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return attrs.evolve(bird, folder=endless_parrot(tmp_path_factory.mktemp("endless") / "bird"))


def in_pipes(bird: Bird, line: str, typed: str = "") -> Ran:
    source = f"printf '%s' {typed!r} | " if typed else ""
    return Ran.of(bird.shell(f"{source}{{ {line}{_STATUS}; }} 2>&1").out)


def on_a_terminal(bird: Bird, line: str, typed: str = "", *, stop_after: str | None = None) -> Ran:
    """Run a line with all its streams on a terminal of its own; what is typed there ends with Ctrl-D.

    Ctrl-C is pressed as soon as the text ``stop_after`` is seen.
    """
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    settings = termios.tcgetattr(theirs)
    settings[3] &= ~termios.ECHO
    settings[3] |= termios.NOFLSH  # a Ctrl-C drops nothing that was printed before
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with subprocess.Popen(
        [sys.executable, "-c", _OWN_TERMINAL, "bash", "-c", f"{line}{_STATUS}"],
        env=bird.environment(BIRD=str(bird.folder), NO_COLOR="1"),
        cwd=bird.machine.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        if typed:
            os.write(mine, f"{typed}\n\x04".encode())
        data = b""
        with suppress(OSError):  # how Linux says that the other side is gone
            while chunk := os.read(mine, 65536):
                data += chunk
                if stop_after is not None and stop_after in data.decode(errors="replace"):
                    os.write(mine, b"\x03")
                    stop_after = None
        process.wait(_MUST_END)
    os.close(mine)
    return Ran.of(_WAITING.sub("", data.decode()).replace("\r\n", "\n"))


Shell = Callable[..., Ran]
both = pytest.mark.parametrize("shell", [in_pipes, on_a_terminal], ids=["pipes", "terminal"])


@both
def test_the_answer_comes_and_the_code_is_nought(bird: Bird, shell: Shell) -> None:
    assert shell(bird, f"mlxk run $BIRD '{CAPITAL}'") == Ran(f"{ANSWERS[CAPITAL]}\n", "0")


def test_ctrl_c_on_a_terminal_prints_that_the_answer_was_stopped(endless: Bird) -> None:
    ran = on_a_terminal(endless, f"mlxk run $BIRD '{LONG}'", stop_after="Once")
    answer, _, note = ran.shown.rpartition("\n\r\x1b[K")
    assert (note, ran.statuses) == ("stopped\n", "130")
    assert answer.startswith("Once")
    assert is_beginning(answer)


@both
def test_head_takes_its_line_and_ends_the_answer_quietly(bird: Bird, endless: Bird, shell: Shell) -> None:
    first = f"{ANSWERS[CODE].splitlines()[0]}\n"
    ask = f"mlxk run $BIRD '{CODE}' --max-tokens 1900"
    assert shell(endless, f"{ask} | head -1") == Ran(first, "141 0")
    assert shell(endless, f"{ask} | cat | head -1") == Ran(first, "141 141 0")
    assert shell(endless, f"{ask} --no-stream --verbose 2>/dev/null | true") == Ran("", "141 0")
    assert shell(bird, f"mlxk run $BIRD '{LONG}' | head -1") == Ran(f"{ANSWERS[LONG]}\n", "0 0")


@both
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("</dev/null", "stdin is empty"),
        ("<&-", "stdin is closed"),
        ("< <(printf ' \\n')", "stdin is empty"),
        ("< <(head -c 2000 /dev/zero)", "stdin is binary, not text"),
        ("<$(command -v bash)", "stdin is binary, not text"),
        ("< <(printf 'caf\\xe9')", "stdin is not UTF-8 text"),
    ],
)
def test_what_is_no_question_is_refused(bird: Bird, shell: Shell, source: str, message: str) -> None:
    ran = shell(bird, f"mlxk run $BIRD - {source}")
    assert (ran.statuses, ran.shown.splitlines()[0]) == ("1", f"error: {message}")
    ran = shell(bird, f"mlxk run $BIRD - {source} 2>/dev/null | wc -c")
    assert (ran.shown.strip(), ran.statuses) == ("0", "1 0")


@both
def test_a_chat_with_nobody_ends_at_once(bird: Bird, shell: Shell) -> None:
    assert shell(bird, "mlxk run $BIRD </dev/null") == Ran("", "0")
    assert shell(bird, "mlxk run $BIRD <&-") == Ran("error: stdin is closed\n", "1")


@both
def test_the_question_is_read_until_it_ends(bird: Bird, shell: Shell) -> None:
    assert shell(bird, "mlxk run $BIRD - 2>message | cat", CAPITAL) == Ran(f"{ANSWERS[CAPITAL]}\n", "0 0")
    assert shell(bird, "mlxk run $BIRD - 2>message", CAPITAL) == Ran(f"{ANSWERS[CAPITAL]}\n", "0")


@both
def test_megabytes_are_refused_and_their_writer_is_not_cut_off(bird: Bird, shell: Shell) -> None:
    ran = shell(bird, "head -c 10000000 /dev/zero | tr '\\0' a | mlxk run $BIRD -")
    assert ran.statuses == "0 0 1"
    assert ran.shown.startswith("error: The prompt is too long: it has 10000000 characters")


@both
def test_what_is_shown_besides_reaches_no_pipe(bird: Bird, shell: Shell) -> None:
    ran = shell(bird, f"mlxk run $BIRD '{CODE}' --verbose 2>message | tee kept | grep -c return")
    assert ran == Ran(f"{ANSWERS[CODE].count('return')}\n", "0 0 0")
    assert (bird.machine.root / "kept").read_text() == f"{ANSWERS[CODE]}\n"
    assert "prompt tokens" in (bird.machine.root / "message").read_text()


@both
def test_what_it_thinks_reaches_no_pipe(bird: Bird, shell: Shell) -> None:
    assert shell(bird, f"mlxk run $BIRD '{REASONING}' | cat") == Ran(f"{SUM}\n", "0 0")


@both
def test_a_chain_goes_on_with_answers_and_each_link_tells_its_own_failure(bird: Bird, shell: Shell) -> None:
    echo = f"mlxk run $BIRD - '{CAPITAL}' --separator ' '"
    chain = f"mlxk run $BIRD '{CODE}' --max-tokens 3 | {echo} | mlxk run $BIRD - --max-tokens 8 | wc -l"
    ran = shell(bird, chain)
    notes = [f"Output cut at {tokens} tokens (--max-tokens)" for tokens in (3, 8)]
    assert (sorted(ran.shown.split("\n")), ran.statuses) == (sorted(["", "1", *notes]), "0 0 0 0")
    broken = shell(bird, "mlxk run org/absent hi --no-pull | mlxk run $BIRD - | mlxk run $BIRD -")
    assert broken.statuses == "1 1 1"
    assert sorted(line.partition(": ")[2] for line in broken.shown.splitlines() if line.startswith("error"))[1:] == [
        "stdin is empty",
        "stdin is empty",
    ]


@both
def test_a_full_disk_is_told(bird: Bird, shell: Shell) -> None:
    message = "error: cannot write the answer: No space left on device\n"
    assert shell(bird, f"mlxk run $BIRD '{CAPITAL}' >/dev/full") == Ran(message, "3")
