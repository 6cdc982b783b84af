"""Our programs as new processes, never through the fork server: each command and each kind of ending once."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder import chat_files
from tests.e2e.processes import BIN, MUST_END, Machine
from tests.e2e.serving import serving
from tests.fake_hub import FakeHub
from tests.fork_server.install import OWN_TERMINAL
from tests.parrot import ANSWERS, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, LONG

pytestmark = [pytest.mark.cold_start, pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.timeout(1200)]

NAME = "org/tiny-chat"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.cache.model(NAME)
    return machine


def asked(*words: str) -> str:
    """Return a line of bash that asks the parrot."""
    return f"OPENBLAS_NUM_THREADS=1 mlxk run {parrot_folder()} {' '.join(words)}"


# --- commands and names


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("--version", 0, "mlxk "),
        ("--help", 0, "usage: mlxk"),
        ("list", 0, NAME),
        ("list --json", 0, '"count": 1'),
        ("show tiny-chat", 0, NAME),
        ("health --verify", 0, "1 healthy"),
        ("rm org/tiny-chat --force", 0, "Successfully deleted"),
        ("nonsense", 1, "unknown command"),
        ("show nothing", 1, "nothing"),
        ("run nothing hello", 1, "nothing"),
    ],
)
def test_a_command_ends_with_its_code(machine: Machine, words: str, code: int, part: str) -> None:
    outcome = machine.run(*words.split())
    assert (outcome.code, part in (outcome.err if code else outcome.out)) == (code, True), outcome


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("mlxk2", "--version"),
        ("mlxk-json", "list --json"),
        ("mlx-run", "--help"),
        ("mlx-tee", "--help"),
        ("mlxk-tee", "--help"),
    ],
)
def test_every_name_is_a_program(machine: Machine, program: str, words: str) -> None:
    outcome = machine.run(*words.split(), program=program)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out


@pytest.mark.parametrize("options", [["-m"], ["-P", "-m"]], ids=" ".join)
def test_the_module_is_a_program(machine: Machine, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *options, "mlxknife", "list", "--json"],
        env=machine.environment(),
        capture_output=True,
        check=True,
        timeout=MUST_END,
    )
    assert json.loads(done.stdout)["data"]["count"] == 1


def test_a_pull_brings_a_model(machine: Machine) -> None:
    with FakeHub() as hub:
        hub.add("org/other", chat_files(salt=1))
        outcome = machine.run("pull", "org/other", environment=machine.environment(HF_ENDPOINT=hub.endpoint))
        assert (outcome.code, outcome.err) == (0, "")
    assert sorted(machine.run("list", "--json").names()) == ["org/other", NAME]


def test_a_model_answers_in_a_pipe(machine: Machine) -> None:
    outcome = machine.shell(f"echo '{CAPITAL}' | {asked('-')} | cat; echo ${{PIPESTATUS[@]}}")
    assert (outcome.out, outcome.err) == (f"{ANSWERS[CAPITAL]}\n0 0 0\n", "")


def test_a_conversation_on_a_terminal(machine: Machine) -> None:
    ours, its = pty.openpty()
    words = [str(BIN / "mlxk"), "run", str(parrot_folder())]
    with subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *words],
        env=machine.environment(NO_COLOR="1", OPENBLAS_NUM_THREADS="1"),
        cwd=machine.root,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as process:
        os.close(its)
        shown = _until_prompt(ours)
        os.write(ours, f"{CAPITAL}\r".encode())
        shown = _until_prompt(ours)
        os.write(ours, b"\x04")
        assert process.wait(MUST_END) == 0
    os.close(ours)
    assert ANSWERS[CAPITAL] in shown


def _until_prompt(terminal: int) -> str:
    shown = b""
    while b"\x1b[?2004h" not in shown:
        assert select.select([terminal], [], [], MUST_END)[0], shown
        shown += os.read(terminal, 65536)
    return shown.decode()


def test_a_server_answers_and_ends_with_its_signal(machine: Machine) -> None:
    with serving(machine) as server:
        assert [model["id"] for model in server.ask("/v1/models").document()["data"]] == [NAME]
        assert server.end(signal.SIGTERM) == 0


def test_two_commands_get_one_input(machine: Machine) -> None:
    outcome = machine.shell("echo one | mlx-tee cat 'wc -l'")
    assert (outcome.code, outcome.out) == (0, "==> cat <==\none\n\n==> wc -l <==\n1\n")


# --- signals and streams


def test_ctrl_c_ends_an_answer(machine: Machine) -> None:
    with subprocess.Popen(
        [BIN / "mlxk", "run", parrot_4bit_folder(), LONG, "--cpu-profile", "as-is"],
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"Once"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=MUST_END)
    assert (process.returncode, err) == (130, b"")


@pytest.fixture
def crowded(machine: Machine) -> Machine:
    """Return a machine whose listing fills every buffer between two processes."""
    for number in range(900):
        (machine.hub / f"models--org--{'a-long-name-' * 8}{number:04d}").mkdir()
    return machine


def test_ctrl_c_ends_a_listing(crowded: Machine) -> None:
    with subprocess.Popen(
        [BIN / "mlxk", "list", "--json"],
        env=crowded.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"{"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=MUST_END)
    assert (process.returncode, err) == (130, b"")


def test_a_reader_that_goes_away_is_a_broken_pipe(crowded: Machine) -> None:
    outcome = crowded.shell("mlxk list --all | head -1 >first; echo ${PIPESTATUS[0]}")
    assert (outcome.out, outcome.err) == ("141\n", "")


@pytest.mark.parametrize(
    ("script", "code", "out", "part"),
    [
        ("mlxk version <&-", 0, True, ""),
        ("mlxk list >&-", 3, False, "stdout is closed"),
        ("mlxk nonsense 2>&-", 1, False, ""),
        ("mlxk rm tiny <&-", 1, False, "error: "),
        ("mlxk list >/dev/full", 3, False, "No space left"),
        ("LC_ALL=C mlxk list", 0, True, ""),
        ("PYTHONUTF8=0 LC_ALL=C mlxk list --json", 0, True, ""),
        ("nohup mlxk list 2>&1", 0, True, ""),
        ("ulimit -f 0; mlxk list >file", 3, False, "File too large"),
    ],
)
def test_streams_and_settings_of_a_shell(machine: Machine, script: str, code: int, out: bool, part: str) -> None:  # noqa: FBT001 - a row
    outcome = machine.shell(script)
    assert (outcome.code, bool(outcome.out)) == (code, out), outcome
    assert part in outcome.err
    assert "Traceback" not in outcome.err
