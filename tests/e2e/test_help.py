"""The help of the installed programs: the width of a real terminal, and the name of each program."""

from __future__ import annotations

from tests.e2e.processes import Machine


def test_the_help_is_as_wide_as_the_terminal(machine: Machine) -> None:
    shown = machine.shell(
        "python3 -c \"import pty, sys; sys.exit(pty.spawn(['sh', '-c', 'stty cols 60; mlx-tee --help']) >> 8)\""
    ).out
    assert shown.startswith("usage: mlx-tee")
    examples = "  ml"
    assert max(len(line) for line in shown.splitlines() if not line.startswith(examples)) in range(50, 61)


def test_each_program_prints_its_own_name(machine: Machine) -> None:
    assert machine.run("--help").out.startswith("usage: mlxk [--json]")
    assert machine.run("--help", program="mlx-run").out.startswith("usage: mlx-run [OPTIONS] MODEL [PROMPT ...]\n")
    assert machine.run(program="mlx-run").err.splitlines()[-1] == "hint: See mlx-run --help"
