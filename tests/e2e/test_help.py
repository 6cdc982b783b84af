"""The help on terminals of every width: nothing runs over the edge but examples, which stay lines to be copied."""

from __future__ import annotations

import pytest

from mlxknife.cli.arguments import COMMANDS
from tests.e2e.processes import Machine

_PROGRAMS = [("mlxk", "--help"), ("mlx-tee", "--help"), *(("mlxk", name, "--help") for name in COMMANDS)]


def _help(machine: Machine, program: str, *words: str, **variables: str) -> list[str]:
    outcome = machine.run(*words, program=program, environment=machine.environment(**variables))
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.splitlines()


def _is_example(line: str) -> bool:
    return line.startswith("  ml")


@pytest.mark.parametrize("words", _PROGRAMS, ids=" ".join)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_is_longer_than_the_terminal_is_wide(machine: Machine, words: tuple[str, ...], columns: int) -> None:
    lines = _help(machine, *words, COLUMNS=str(columns))
    assert [line for line in lines if len(line) > min(columns, 100) and not _is_example(line)] == []


@pytest.mark.parametrize("words", _PROGRAMS, ids=" ".join)
def test_a_narrow_terminal_changes_no_word(machine: Machine, words: tuple[str, ...]) -> None:
    narrow, wide = (_help(machine, *words, COLUMNS=columns) for columns in ("60", "100"))
    usage = next(number for number, line in enumerate(wide) if not line)
    assert " ".join(narrow).split()[:3] == " ".join(wide).split()[:3]
    cut = next(number for number, line in enumerate(narrow) if not line)
    assert " ".join(narrow[cut:]).split() == " ".join(wide[usage:]).split()


def test_a_terminal_tells_its_width_itself(machine: Machine) -> None:
    shown = machine.shell(
        "python3 -c \"import pty, sys; sys.exit(pty.spawn(['sh', '-c', 'stty cols 60; mlx-tee --help']) >> 8)\""
    ).out
    assert shown.startswith("usage: mlx-tee")
    assert max(len(line) for line in shown.splitlines() if not _is_example(line)) in range(50, 61)


@pytest.mark.parametrize("words", [("help", "run"), ("-h", "run"), ("--help", "run"), ("--debug", "help", "run")])
def test_the_help_of_a_command_can_be_asked_for_in_every_way(machine: Machine, words: tuple[str, ...]) -> None:
    assert _help(machine, "mlxk", *words) == _help(machine, "mlxk", "run", "--help")


def test_help_alone_is_about_the_program(machine: Machine) -> None:
    whole = _help(machine, "mlxk", "--help")
    assert _help(machine, "mlxk", "help") == _help(machine, "mlxk", "help", "help") == whole
    assert "hint: Did you mean mlxk show?" in machine.run("help", "shwo").err


def test_a_program_says_its_own_name(machine: Machine) -> None:
    assert _help(machine, "mlx-run", "--help")[0] == "usage: mlx-run [OPTIONS] MODEL [PROMPT ...]"
    assert machine.run(program="mlx-run").err.splitlines()[-1] == "hint: See mlx-run --help"


def test_the_commands_stay_a_table(machine: Machine) -> None:
    lines = _help(machine, "mlxk", "--help", COLUMNS="60")
    place = lines.index("  pull      bring a model from the Hub, or what is missing")
    assert lines[place + 1] == "            or damaged of it"
