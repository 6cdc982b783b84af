"""``mlx-tee`` at its end: readers that go away, terminals, signals. Nothing that it started is left behind."""

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
from tests.e2e.teeing import desk_at, is_alive, spoken, wait_for
from tests.fork_server.install import OWN_TERMINAL
from tests.parrot.answers import LONG

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return desk_at(tmp_path_factory.mktemp("desk"))


# --- readers that go away, full disks, terminals


def test_a_reader_that_has_enough_ends_them_all_quietly(desk: Machine) -> None:
    sleeper = spoken("echo $$ >sleeper; exec sleep 1000")
    speaker = spoken("until test -s sleeper; do sleep 0.01; done; exec yes")
    for place in ("", "2>&1"):
        (desk.root / "sleeper").unlink(missing_ok=True)
        outcome = desk.shell(f"mlx-tee {speaker} {sleeper} </dev/null {place} | sed -n 2q; exit ${{PIPESTATUS[0]}}")
        assert (outcome.code, outcome.out, outcome.err) == (141, "", "")
        assert not is_alive(wait_for(desk.root / "sleeper"))


def test_a_full_stdout_is_told_once(desk: Machine) -> None:
    outcome = desk.shell("echo x | mlx-tee cat 'sleep 1000' >/dev/full")
    assert (outcome.code, outcome.err) == (3, "error: the answers cannot be written: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_hinder_nothing(desk: Machine, closed: str) -> None:
    (desk.root / "kept").unlink(missing_ok=True)
    outcome = desk.shell(f"echo x | mlx-tee {spoken('cat >kept; echo out; echo err >&2; exit 3')} cat {closed}")
    assert outcome.code == 3
    assert (desk.root / "kept").read_text() == ("" if "<&-" in closed else "x\n")
    assert ("==> cat <==" in outcome.out) == (">&-" not in closed.replace("2>&-", ""))
    assert ("err" in outcome.err) == ("2>&-" not in closed)


@contextmanager
def terminal(desk: Machine, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run ``mlx-tee`` on a terminal of its own, whose Ctrl-C reaches it."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, str(BIN / "mlx-tee"), *words],
        env=desk.environment(NO_COLOR="1"),
        cwd=desk.root,
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
    """Return all that is shown until the program is gone."""
    data = b""
    with suppress(OSError):  # how Linux says that the other side is gone
        while chunk := os.read(place, 65536):
            data += chunk
    return data.decode().replace("\r\n", "\n")


def test_nothing_that_a_command_writes_steers_a_terminal(desk: Machine) -> None:
    evil = r"printf '\033[31mred\r\tb\342\200\256x\377\n\342\202'"
    with terminal(desk, evil, f"sh -c {shlex.quote(evil + ' >&2')}", "echo 'a\x1b[2J'") as (process, place):
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert {char for char in text if not char.isprintable()} <= {"\n", "\t"}
    assert text.count("\\x1b[31mred\\r\tb\\u202ex\\xff\n\\xe2\\x82\n") == 2
    assert "==> echo 'a\\x1b[2J' <==" in text


def test_a_terminal_is_read_until_it_ends_or_nobody_wants_more(desk: Machine) -> None:
    with terminal(desk, "head -1", "wc -l") as (process, place):
        os.write(place, b"one\ntwo\n\x04")
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert text.replace("one\ntwo\n", "", 1) == "==> head -1 <==\none\n\n==> wc -l <==\n2\n"
    with terminal(desk, "true", "echo done") as (process, place):
        text = shown(place)
        assert process.wait(MUST_END) == 0
    assert text == "==> true <==\n\n==> echo done <==\ndone\n"


# --- signals


FAMILY = "echo $$ >{0}; ({1}while :; do sleep 0.05; done) & echo $! >{0}-child; wait"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_a_signal_ends_all_with_their_children(desk: Machine, number: signal.Signals, mode: str) -> None:
    names = ["a", "b"] if mode == "--parallel" else ["a"]
    files = [desk.root / name for family in ("a", "b") for name in (family, f"{family}-child")]
    for file in files:
        file.unlink(missing_ok=True)
    trap = "trap '' TERM; " if number == signal.SIGTERM else ""
    commands = [f"sh -c {shlex.quote(FAMILY.format(name, trap))}" for name in ("a", "b")]
    with subprocess.Popen(
        [BIN / "mlx-tee", mode, *commands],
        env=desk.environment(),
        cwd=desk.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        pids = [wait_for(desk.root / name) for family in names for name in (family, f"{family}-child")]
        assert all(map(is_alive, pids))
        process.send_signal(number)
        assert process.wait(MUST_END) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert not any(map(is_alive, pids))
    assert (desk.root / "b").exists() == (mode == "--parallel")


def test_ctrl_c_ends_a_model_in_the_middle_of_its_answer(desk: Machine) -> None:
    with terminal(desk, f"mlxk run starter '{LONG}' --max-tokens 100000", "sleep 1000") as (process, place):
        seen = b""
        while b"Once upon" not in seen:
            seen += os.read(place, 65536)
        os.write(place, b"\x03")
        shown(place)
        assert process.wait(MUST_END) == 130


def test_nohup_is_respected(desk: Machine) -> None:
    ask = spoken("kill -HUP $PPID; kill -HUP $$; echo alive")
    outcome = desk.shell(f"nohup mlx-tee --no-headers {ask} </dev/null 2>/dev/null")
    assert (outcome.code, outcome.out) == (0, "alive\n")
