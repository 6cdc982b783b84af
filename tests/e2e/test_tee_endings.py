"""How ``mlx-tee`` ends: closed pipes, terminals, signals. It leaves no process behind."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.processes import BIN, MUST_END, Machine
from tests.e2e.tee_machine import is_alive, machine_with_starter, sh, wait_for
from tests.fork_server.install import OWN_TERMINAL
from tests.parrot.answers import LONG

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return machine_with_starter(tmp_path_factory.mktemp("starter"))


# --- closed pipes, full disks, terminals


def test_a_closed_pipe_ends_all_commands_without_an_error(starter: Machine) -> None:
    sleeper = sh("echo $$ >sleeper; exec sleep 1000")
    speaker = sh("until test -s sleeper; do sleep 0.01; done; exec yes")
    for place in ("", "2>&1"):
        (starter.root / "sleeper").unlink(missing_ok=True)
        outcome = starter.shell(f"mlx-tee {speaker} {sleeper} </dev/null {place} | sed -n 2q; exit ${{PIPESTATUS[0]}}")
        assert (outcome.code, outcome.out, outcome.err) == (141, "", "")
        assert not is_alive(wait_for(starter.root / "sleeper"))


def test_a_full_stdout_is_reported_once(starter: Machine) -> None:
    outcome = starter.shell("echo x | mlx-tee cat 'sleep 1000' >/dev/full")
    assert (outcome.code, outcome.err) == (3, "error: cannot write the answers: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_stop_the_commands(starter: Machine, closed: str) -> None:
    (starter.root / "kept").unlink(missing_ok=True)
    outcome = starter.shell(f"echo x | mlx-tee {sh('cat >kept; echo out; echo err >&2; exit 3')} cat {closed}")
    assert outcome.code == 3
    assert (starter.root / "kept").read_text() == ("" if "<&-" in closed else "x\n")
    assert ("==> cat <==" in outcome.out) == (">&-" not in closed.replace("2>&-", ""))
    assert ("err" in outcome.err) == ("2>&-" not in closed)


@contextmanager
def terminal(starter: Machine, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run ``mlx-tee`` on a terminal of its own, which sends it Ctrl-C."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, str(BIN / "mlx-tee"), *words],
        env=starter.environment(NO_COLOR="1"),
        cwd=starter.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield process, mine
        finally:
            process.kill()
            os.close(mine)


def shown(place: int) -> str:
    """Return everything that the terminal shows until the program ends."""
    data = b""
    with suppress(OSError):  # Linux reports the closed terminal as EIO
        while chunk := os.read(place, 65536):
            data += chunk
    return data.decode().replace("\r\n", "\n")


def test_control_characters_of_a_command_are_escaped_on_a_terminal(starter: Machine) -> None:
    hostile = r"printf '\033[31mred\r\tb\342\200\256x\377\n\342\202'"
    with terminal(starter, hostile, f"sh -c {shlex.quote(hostile + ' >&2')}", "echo 'a\x1b[2J'") as (process, place):
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert {char for char in text if not char.isprintable()} <= {"\n", "\t"}
    assert text.count("\\x1b[31mred\\r\tb\\u202ex\\xff\n\\xe2\\x82\n") == 2
    assert "==> echo 'a\\x1b[2J' <==" in text


def test_a_terminal_is_read_until_its_end_or_until_no_command_reads(starter: Machine) -> None:
    with terminal(starter, "head -1", "wc -l") as (process, place):
        os.write(place, b"one\ntwo\n\x04")
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert text.replace("one\ntwo\n", "", 1) == "==> head -1 <==\none\n\n==> wc -l <==\n2\n"
    with terminal(starter, "true", "echo done") as (process, place):
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert text == "==> true <==\n\n==> echo done <==\ndone\n"


# --- signals


FAMILY = "echo $$ >{0}; ({1}while :; do sleep 0.05; done) & echo $! >{0}-child; wait"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_a_signal_ends_all_commands_and_their_children(starter: Machine, number: signal.Signals, mode: str) -> None:
    names = ["a", "b"] if mode == "--parallel" else ["a"]
    files = [starter.root / name for family in ("a", "b") for name in (family, f"{family}-child")]
    for file in files:
        file.unlink(missing_ok=True)
    trap = "trap '' TERM; " if number == signal.SIGTERM else ""
    commands = [f"sh -c {shlex.quote(FAMILY.format(name, trap))}" for name in ("a", "b")]
    with subprocess.Popen(
        [BIN / "mlx-tee", mode, *commands],
        env=starter.environment(),
        cwd=starter.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        pids = [wait_for(starter.root / name) for family in names for name in (family, f"{family}-child")]
        assert all(map(is_alive, pids))
        process.send_signal(number)
        assert process.wait(MUST_END) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert not any(map(is_alive, pids))
    assert (starter.root / "b").exists() == (mode == "--parallel")


def test_ctrl_c_ends_a_model_in_the_middle_of_its_answer(starter: Machine) -> None:
    with terminal(starter, f"mlxk run starter '{LONG}' --max-tokens 100000", "sleep 1000") as (process, place):
        seen = b""
        while b"Once upon" not in seen:
            seen += os.read(place, 65536)
        os.write(place, b"\x03")
        shown(place)
        assert process.wait(MUST_END) == 130


def test_nohup_is_respected(starter: Machine) -> None:
    ask = sh("kill -HUP $PPID; kill -HUP $$; echo alive")
    outcome = starter.shell(f"nohup mlx-tee --no-headers {ask} </dev/null 2>/dev/null")
    assert (outcome.code, outcome.out) == (0, "alive\n")
