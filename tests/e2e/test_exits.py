"""Exit codes, closed pipes, interrupts, and no traceback without --debug."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import BIN, MUST_END, Machine

MANY = 900
"""More models than the buffers between two processes can hold as a listing."""


@pytest.fixture
def many_models(machine: Machine) -> Machine:
    for number in range(MANY):
        (machine.hub / f"models--org--a-model-with-a-name-that-is-{'very-' * 8}long-{number:04d}").mkdir(parents=True)
    return machine


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list"], 0),
        (["health"], 0),
        (["version"], 0),
        (["--version"], 0),
        (["--help"], 0),
        (["list", "--help"], 0),
        ([], 0),
        (["nonsense"], 1),
        (["--nonsense"], 1),
        (["list", "--nonsense"], 1),
        (["show"], 1),
        (["show", "nothing"], 1),
        (["show", "a/../b"], 1),
    ],
)
def test_exit_codes(machine: Machine, words: list[str], code: int) -> None:
    outcome = machine.run(*words)
    assert outcome.code == code
    used, empty = (outcome.err, outcome.out) if code else (outcome.out, outcome.err)
    assert used
    assert not empty


def test_damage_is_not_an_error_unless_strict(machine: Machine) -> None:
    machine.cache.model("org/good")
    assert machine.run("health", "--strict").code == 0
    (machine.cache.model("org/bad").snapshot / "config.json").unlink()
    assert machine.run("list").code == machine.run("health").code == machine.run("show", "org/bad").code == 0
    assert machine.run("health", "--strict").code == 1
    assert machine.run("health", "--strict", "org/good").code == 0
    strict = machine.run("health", "--strict", "--json")
    assert (strict.code, strict.document()["status"]) == (1, "success")


def test_a_cache_path_that_is_a_file_exits_with_3(machine: Machine) -> None:
    machine.hub.write_text("no folder")
    outcome = machine.run("list")
    assert (outcome.code, outcome.out) == (3, "")
    assert str(machine.hub) in outcome.err
    assert "HF_HOME" in outcome.err


def test_usage_errors_name_the_help(machine: Machine) -> None:
    assert machine.run("list", "--nonsense").err == (
        "error: unrecognized arguments: --nonsense\nhint: See mlxk list --help\n"
    )
    assert "hint: Did you mean mlxk show?" in machine.run("shwo").err


def test_a_surplus_argument_is_named_without_an_internal_separator(machine: Machine) -> None:
    assert machine.run("serve", "starter").err == (
        "error: unrecognized arguments: starter\nhint: Did you mean --model starter?\n"
    )
    assert machine.run("show", "one", "two").err == "error: unrecognized arguments: two\nhint: See mlxk show --help\n"
    assert machine.run("version", "now").err == "error: unrecognized arguments: now\nhint: See mlxk version --help\n"


def test_ambiguous_names_are_listed_on_stderr(machine: Machine) -> None:
    for name in ("one/twin", "two/twin"):
        machine.cache.model(name)
    outcome = machine.run("show", "twin")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: Multiple models match 'twin'\n  one/twin\n  two/twin\n")


@pytest.mark.parametrize("command", ["list --all", "list --json", "health", "health --json"])
def test_a_closed_pipe_exits_with_141_and_prints_no_error(many_models: Machine, command: str) -> None:
    outcome = many_models.shell(f"mlxk {command} | head -1; echo ${{PIPESTATUS[0]}}")
    assert outcome.err == ""
    assert outcome.out.splitlines()[-1] == "141"
    assert many_models.shell(f"set -o pipefail; mlxk {command} | head -1").code == 141


def test_ctrl_c_while_printing_exits_with_130(many_models: Machine) -> None:
    process = subprocess.Popen(
        [str(BIN / "mlxk"), "list", "--json"],
        env=many_models.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"{"  # it is printing now, and blocks until the pipe is read
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=MUST_END)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]], ids=" ".join)
def test_ctrl_c_during_the_work_exits_with_130(machine: Machine, words: list[str]) -> None:
    script = (
        "import os, signal, sys, time\n"
        "from mlxknife.cli.main import run_command_line\n"
        "def open_app(**_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        f"sys.exit(run_command_line({words}, open_app))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=machine.environment(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")
    types = [json.loads(done.stdout)["error"]["type"]] if done.stdout else []
    assert types == (["interrupted"] if "--json" in words else [])


@pytest.mark.parametrize("command", ["list", "list --json", "version", "--version", "--help", "list --help", "help"])
def test_a_closed_stdout_exits_with_3_and_a_message(machine: Machine, command: str) -> None:
    machine.cache.model("org/model")
    outcome = machine.shell(f"mlxk {command} >&-")
    assert (outcome.code, outcome.err) == (3, "error: cannot write the answer: stdout is closed\n")


def test_a_command_that_fails_keeps_its_exit_code_on_a_closed_stdout(machine: Machine) -> None:
    assert machine.shell("mlxk show nothing --json >&-").code == 1
    assert machine.shell("mlx-tee --help >&-").err == "error: cannot write the answers: stdout is closed\n"


if Path("/dev/full").exists():  # Linux has a device that is always full

    @pytest.mark.parametrize("command", ["list", "list --json", "version", "--version", "--help", "run --help"])
    def test_a_full_disk_exits_with_3_and_a_message(machine: Machine, command: str) -> None:
        machine.cache.model("org/model")
        outcome = machine.shell(f"mlxk {command} >/dev/full")
        assert "Traceback" not in outcome.err
        assert "Exception ignored" not in outcome.err
        assert "No space left" in outcome.err
        assert outcome.code == 3


def test_a_deleted_current_folder_is_no_internal_error(machine: Machine) -> None:
    machine.cache.model("org/model")
    inside = "mkdir gone; cd gone; rmdir ../gone;"
    assert machine.shell(f"{inside} mlxk list --json").names() == ["org/model"]
    assert machine.shell(f"{inside} mlxk show model --json").code == 0
    outcome = machine.shell(f"{inside} mlxk show ./x --json")
    assert outcome.error()["type"] in ("model_not_found", "FilesystemError")


def test_an_internal_error_prints_its_traceback_only_in_debug_mode(machine: Machine) -> None:
    script = (
        "import sys\n"
        "from mlxknife.cli.main import run_command_line\n"
        "def open_app(**_):\n"
        "    raise RuntimeError('a defect')\n"
        "sys.exit(run_command_line(sys.argv[1:], open_app))\n"
    )

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *words]
        environment = machine.environment(**variables)
        return subprocess.run(command, env=environment, capture_output=True, check=False, text=True)

    plain = run("list")
    assert (plain.returncode, plain.stdout) == (1, "")
    assert plain.stderr.startswith("error: RuntimeError: a defect\nhint: ")
    answer = run("list", "--json")
    assert (answer.returncode, answer.stderr) == (1, "")
    assert json.loads(answer.stdout)["error"]["type"] == "InternalError"
    for debugged in (run("list", "--debug"), run("list", MLXK_DEBUG="1"), run("list", MLXK2_DEBUG="1")):
        assert "Traceback" in debugged.stderr
    assert "Traceback" not in run("list", MLXK_DEBUG="0").stderr
    document = run("list", "--debug", "--json")
    assert json.loads(document.stdout)["error"]["type"] == "InternalError"
    assert "Traceback" in document.stderr


@pytest.mark.parametrize("program", ["mlxk2", "mlxk-json"])
def test_the_aliases_start_the_same_program(machine: Machine, program: str) -> None:
    machine.cache.model("org/model")
    for words in (["list", "--all"], ["show", "org/model", "--json"], ["--version"], ["nonsense"], ["health", "none"]):
        assert machine.run(*words, program=program) == machine.run(*words)


def test_mlx_run_is_mlxk_run(machine: Machine) -> None:
    assert machine.run("org/model", "hello", program="mlx-run") == machine.run("run", "org/model", "hello")


def test_the_module_is_the_program(machine: Machine) -> None:
    environment = machine.environment()
    done = subprocess.run(
        [sys.executable, "-m", "mlxknife", "--version"], env=environment, capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stdout) == (0, machine.run("--version").out)
