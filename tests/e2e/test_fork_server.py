"""A program that the fork server starts is like one that was executed: compared in all that a process inherits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import BIN, MUST_END, Machine
from tests.fork_server import install
from tests.fork_server.install import can_fork, cold_starts

pytestmark = pytest.mark.skipif(not can_fork(), reason="programs are executed here")

REPORT = [sys.executable, "-P", "-m", "tests.fork_server.report"]
ROOT = Path(__file__).parents[2]


def both(run: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what comes of a call with the fork server, and without it."""
    forked = run()
    with cold_starts():
        return forked, run()


def environment(machine: Machine, **variables: str) -> dict[str, str]:
    return machine.environment(PYTHONPATH=str(ROOT), **variables)


def reported(words: list[str], **how: Any) -> dict[str, Any]:  # noqa: ANN401 - as subprocess takes them
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=MUST_END, **how)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE},
        {"start_new_session": True},
        {"process_group": 0},
        {"umask": 0o27},
    ],
    ids=str,
)
def test_a_process_inherits_the_same(machine: Machine, tmp_path: Path, how: dict[str, Any]) -> None:
    variables = environment(machine)
    forked, executed = both(lambda: reported([*REPORT, "one", "two words"], env=variables, cwd=tmp_path, **how))
    assert forked == executed
    assert not forked["has MLX"]


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}, {"PYTHONDONTWRITEBYTECODE": "1"}], ids=str)
def test_variables_of_python_are_heeded(machine: Machine, variables: dict[str, str]) -> None:
    given = environment(machine, **variables)
    forked, executed = both(lambda: reported(REPORT, env=given))
    assert forked == executed


def test_descriptors_keep_their_numbers(machine: Machine) -> None:
    reading, writing = os.pipe()
    variables = environment(machine)
    forked, executed = both(lambda: reported(REPORT, env=variables, pass_fds=(writing,)))
    os.close(reading)
    os.close(writing)
    assert forked == executed
    assert writing in forked["descriptors"]


def test_signals_that_are_ignored_stay_ignored(machine: Machine) -> None:
    variables = environment(machine)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        forked, executed = both(lambda: reported(REPORT, env=variables))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert forked == executed


def test_a_folder_that_is_not_there_is_an_error(machine: Machine, tmp_path: Path) -> None:
    def message() -> str:
        with pytest.raises(FileNotFoundError) as caught:
            subprocess.run(REPORT, env=environment(machine), cwd=tmp_path / "none", check=False)
        return str(caught.value)

    forked, executed = both(message)
    assert forked == executed


def test_a_process_that_is_killed_says_by_what(machine: Machine) -> None:
    def status() -> int:
        with subprocess.Popen(
            [BIN / "mlxk", "serve", "--port", "0"], env=machine.environment(), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.kill()
            return process.wait(MUST_END)

    assert both(status) == (-signal.SIGKILL, -signal.SIGKILL)


SERVE = "mlxk serve --port 0 >out 2>log & while ! test -s out; do sleep 0.01; done;"
SCRIPTS = {
    "exit code": "mlxk nonsense; echo $?",
    "pipe": "yes | mlxk list | head -c 3; echo ${PIPESTATUS[@]}",
    "closed streams": "mlxk list <&- 2>&-; echo $?; mlxk list >&-; echo $?",
    "gone folder": "mkdir gone; cd gone; rmdir ../gone; mlxk list --json; echo $?",
    "limit": "ulimit -f 0; mlxk list >file; echo $?",
    "umask": "umask 077; mlxk run missing x --out file; stat -c %a file 2>&1; echo $?",
    "other names": "mlxk2 --version; mlxk-json --version",
    "ignored signal": "trap '' HUP; mlx-tee --no-headers 'sh -c \"kill -HUP $PPID; echo alive\"' </dev/null",
    "background": f"{SERVE} kill %1; wait %1; echo $?",
    "killed": f"{SERVE} kill -9 %1; wait %1 2>log; echo $?",
    "substitution": "mlxk list --json < <(sleep 0) | cat; cat <(mlxk --version)",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_shell_sees_the_same(machine: Machine, script: str) -> None:
    def ran() -> object:
        for place in ("file", "out"):
            (machine.root / place).unlink(missing_ok=True)
        return machine.shell(script)

    forked, executed = both(ran)
    assert forked == executed


def test_without_a_fork_server_programs_are_executed() -> None:
    with cold_starts():
        assert install.programs_folder() == str(BIN)
    assert install.programs_folder() != str(BIN)
