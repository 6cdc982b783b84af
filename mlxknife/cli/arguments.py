"""Command-line arguments: argparse with the contract's manners (errors are raised, not printed; usage ends with 1)."""

from __future__ import annotations

import argparse
import functools
from typing import NoReturn

PROGRAM = "mlxk"

COMMANDS = {
    "list": "list the models that are there",
    "show": "show everything about one model",
    "health": "check whether the files of models are whole",
    "pull": "bring a model from the Hub, or what is missing or damaged of it",
    "rm": "remove a model, one revision of it, or what nobody needs",
    "run": "ask a model, from a terminal or in a pipe",
    "version": "tell the version of the program and its JSON contract",
}
"""Every command and what it does; its module is ``mlxknife.cli.commands.<name>``, loaded when it is asked for."""

_EPILOG = """\
MODEL is ORG/NAME, a part of it that fits one model only, the name of a workspace,
or a folder (./x ../x /x ~/x). ORG/NAME@REVISION means a branch, a tag or the first
characters of a commit.

Exit codes: 0 done, 1 refused or not found, 2 network, 3 files or permissions,
130 interrupted. More: mlxk COMMAND --help
"""


_FORMATTER = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)
"""A fixed width, because asking the terminal would import four compression libraries at every start."""


class UsageError(Exception):
    """A command line that cannot be understood."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        """Hold what is wrong and where to read more."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise UsageError(message, hint=f"See {self.prog} --help")


def split_command(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return what stands before the command, the command, and what stands behind it."""
    for place, word in enumerate(argv):
        if not word.startswith("-"):
            return argv[:place], word, argv[place + 1 :]
    return argv, None, []


def program_parser() -> Parser:
    """Return the parser for what stands before the command."""
    listing = "\n".join(f"  {name:10}{summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--json] [--debug] [--version] COMMAND ...",
        description=f"Keep, bring and check language models for MLX.\n\ncommands:\n{listing}",
        epilog=_EPILOG,
        formatter_class=_FORMATTER,
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.add_argument("--version", action="store_true", help="the same as the command version")
    return parser


def command_parser(name: str) -> Parser:
    """Return a parser for one command, to which its module adds what it takes."""
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        formatter_class=_FORMATTER,
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.",
        allow_abbrev=False,
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with one JSON document on stdout")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (also MLXK_DEBUG=1)")


def check_command(name: str) -> None:
    """Raise UsageError for an unknown command, with the nearest known one."""
    if name not in COMMANDS:
        import difflib  # noqa: PLC0415 - only after a mistake

        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {PROGRAM} {close[0]}?" if close else f"See {PROGRAM} --help"
        msg = f"unknown command {name!r} (there are: {', '.join(COMMANDS)})"
        raise UsageError(msg, hint=hint)
