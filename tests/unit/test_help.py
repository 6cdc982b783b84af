"""The help at every width: no line is longer than the terminal except examples, and no word is lost by wrapping."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from functools import partial

import pytest

from mlxknife.app import App
from mlxknife.cli.arguments import COMMANDS, command_parser, program_parser
from mlxknife.cli.main import run_command_line
from mlxknife.cli.result import CommandModule
from mlxknife.cli.tee import tee_parser


def _parser_of(name: str) -> argparse.ArgumentParser:
    module: CommandModule = importlib.import_module(f"mlxknife.cli.commands.{name}")
    parser = command_parser(name)
    module.add_arguments(parser)
    return parser


_PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "mlxk": program_parser,
    "mlx-tee": tee_parser,
    **{name: partial(_parser_of, name) for name in COMMANDS},
}


def _help(monkeypatch: pytest.MonkeyPatch, program: str, columns: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    return _PARSERS[program]().format_help().splitlines()


def _is_example(line: str) -> bool:
    return line.startswith("  ml")


@pytest.mark.parametrize("program", _PARSERS)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_is_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch, program: str, columns: int) -> None:
    lines = _help(monkeypatch, program, columns)
    assert [line for line in lines if len(line) > min(columns, 100) and not _is_example(line)] == []


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_name_is_not_broken_at_its_hyphen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    assert "mlx-community/NAME;" in " ".join(_help(monkeypatch, "pull", columns)).split()


@pytest.mark.parametrize("program", _PARSERS)
def test_wrapping_for_a_narrow_terminal_keeps_every_word(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    narrow, wide = (_help(monkeypatch, program, columns) for columns in (60, 100))
    assert " ".join(narrow).split()[:3] == " ".join(wide).split()[:3]
    bodies = [" ".join(lines[lines.index("") :]).split() for lines in (narrow, wide)]
    assert bodies[0] == bodies[1]


def test_the_commands_stay_in_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _help(monkeypatch, "mlxk", 60)
    place = lines.index("  serve     serve models over an OpenAI-compatible HTTP API")
    assert lines[place + 1] == "            (alias: server)"


def _no_app(*, reads_config: bool = True) -> App:
    del reads_config
    pytest.fail("--help opened the application")


def _output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert run_command_line([*words], _no_app) == code
    return capsys.readouterr()


@pytest.mark.parametrize("words", [("help", "run"), ("-h", "run"), ("--help", "run"), ("--debug", "help", "run")])
def test_every_way_to_ask_for_the_help_of_a_command(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    expected = _output(capsys, "run", "--help")
    assert expected[0].startswith("usage: mlxk run [OPTIONS] MODEL")
    assert _output(capsys, *words) == expected


def test_help_without_a_command_is_the_help_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    expected = _output(capsys, "--help")
    assert expected[1] == ""
    assert _output(capsys, "help") == _output(capsys, "help", "help") == _output(capsys) == expected
    assert "hint: Did you mean mlxk show?" in _output(capsys, "help", "shwo", code=1)[1]
