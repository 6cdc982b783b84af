"""Other names of commands and options, which scripts and habits bring along."""

from __future__ import annotations

import importlib

import pytest

from mlxknife.cli.arguments import command_parser


@pytest.mark.parametrize(
    ("command", "words", "same_words"),
    [
        ("rm", "x -f", "x --force"),
        ("run", "M --no-reasoning", "M --hide-reasoning"),
        ("run", "M -v", "M --verbose"),
        ("list", "-v", "--verbose"),
        ("serve", "--verbose", "--log-level debug"),
        ("serve", "-v --log-level error", "--log-level error"),
    ],
)
def test_another_name_of_an_option_means_the_same(command: str, words: str, same_words: str) -> None:
    parser = command_parser(command)
    importlib.import_module(f"mlxknife.cli.commands.{command}").add_arguments(parser)
    assert parser.parse_mixed(words.split()) == parser.parse_mixed(same_words.split())
