"""A model process that crashes under ``run``: an error of the contract, and what was written before stays."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.breeding import endless_parrot, is_beginning
from tests.e2e.families import descendants, model_processes, processes
from tests.e2e.holding import Hold
from tests.e2e.processes import BIN, Machine, Outcome
from tests.e2e.serving import eventually
from tests.e2e.test_chat import Terminal
from tests.e2e.test_run import Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, GREETING, LONG

pytestmark = pytest.mark.timeout(1200)
_MUST_END = 60
CRASHES = {signal.SIGKILL: "was killed by SIGKILL", signal.SIGABRT: "was killed by SIGABRT"}


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.fixture(scope="module")
def endless(bird: Bird, tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(bird.machine, endless_parrot(tmp_path_factory.mktemp("endless") / "bird"))


def started(bird: Bird, *words: str, hold: Hold | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*(hold.program if hold else [str(BIN / "mlxk")]), "run", str(bird.folder), *words],
        env=bird.environment(**(hold.variables if hold else {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def crash(process: subprocess.Popen[bytes], number: int) -> set[int]:
    """Kill the model process of a command; return every process that the command had started."""
    eventually(lambda: len(model_processes(process.pid)) == 1)
    family = descendants(process.pid)
    os.kill(model_processes(process.pid)[0], number)
    return family


def outcome_of(process: subprocess.Popen[bytes], family: set[int]) -> Outcome:
    """Wait for the end of a command, and for the end of all that it had started."""
    out, err = process.communicate(timeout=_MUST_END)
    eventually(lambda: not family.intersection(processes()))
    return Outcome(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("number", CRASHES)
def test_a_crash_during_the_answer_is_an_error_and_what_was_printed_stays(
    endless: Bird, number: signal.Signals
) -> None:
    with started(endless, LONG) as process:
        assert process.stdout is not None
        begun = process.stdout.read(1).decode()
        outcome = outcome_of(process, crash(process, number))
    assert outcome.code == 1
    first, hint = outcome.err.splitlines()
    assert first.startswith(f"error: The model process {CRASHES[number]}")
    assert hint.startswith("hint: ")
    printed = begun + outcome.out
    assert printed.endswith("\n")
    assert begun
    assert is_beginning(printed.removesuffix("\n"))


def test_a_crash_with_json_is_one_document_and_the_file_keeps_its_text(endless: Bird, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    with started(endless, LONG, "--json", "--out", str(out)) as process:
        eventually(lambda: out.exists() and len(out.read_bytes()) > 4)
        outcome = outcome_of(process, crash(process, signal.SIGKILL))
    error = outcome.error()
    assert (outcome.code, outcome.err) == (1, "")
    assert error["type"] == "worker_lost"
    assert str(error["message"]).startswith("The model process was killed by SIGKILL")
    assert out.read_text().startswith("Once")
    assert is_beginning(out.read_text())


def test_a_crash_while_the_model_is_loaded_is_an_error(bird: Bird, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    hold.begin()
    with started(bird, CAPITAL, "--json", hold=hold) as process:
        eventually(lambda: hold.is_reached)
        outcome = outcome_of(process, crash(process, signal.SIGKILL))
    assert (outcome.code, outcome.error()["type"]) == (1, "worker_lost")


def test_a_chat_goes_on_after_a_crash(endless: Bird) -> None:
    with Terminal(endless) as terminal:
        (first,) = model_processes(terminal.pid)
        assert terminal.enter(f"/set max_tokens {len(ANSWERS[GREETING])}") == "max_tokens: 32\n"
        assert terminal.enter(GREETING).startswith(f"{ANSWERS[GREETING]}\nOutput cut at ")
        terminal.enter("/set max_tokens")
        shown = terminal.do_after(LONG, "Once", lambda: os.kill(first, signal.SIGKILL))
        answer, _, error = shown.rpartition("\nerror: ")
        assert answer.startswith("Once")
        assert is_beginning(answer)
        assert error.startswith("The model process was killed by SIGKILL")
        assert model_processes(terminal.pid) == []
        terminal.enter(f"/set max_tokens {len(ANSWERS[CAPITAL])}")
        again = terminal.enter(CAPITAL)  # the model is loaded again
        assert again.startswith(f"{ANSWERS[CAPITAL]}\nOutput cut at ")
        (second,) = model_processes(terminal.pid)
        assert second != first
        messages = [line for line in terminal.enter("/show").splitlines() if line.startswith("[")]
        assert messages == [
            f"[user] {GREETING}",
            f"[assistant] {ANSWERS[GREETING]}",
            f"[user] {CAPITAL}",
            f"[assistant] {ANSWERS[CAPITAL]}",
        ]
        family = descendants(terminal.pid)
        assert terminal.leave("\x04") == (0, "")
    eventually(lambda: not family.intersection(processes()))
