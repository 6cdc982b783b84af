"""Command-line arguments: argparse with the contract's manners (errors are raised, not printed; usage ends with 1)."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from mlxknife.cli.help_text import HelpFormatter

PROGRAM = "mlxk"

COMMANDS = {
    "list": "list the models that are there",
    "show": "show everything about one model",
    "health": "check whether the files of models are whole",
    "pull": "bring a model from the Hub, or what is missing or damaged of it",
    "rm": "remove a model, one revision of it, or what nobody needs",
    "run": "ask a model, from a terminal or in a pipe",
    "serve": "let other programs use models, over HTTP as OpenAI has it (also called server)",
    "version": "tell the version of the program and its JSON contract",
}
"""Every command and what it does; its module is ``mlxknife.cli.commands.<name>``, loaded when it is asked for."""

_UNKNOWN = "unrecognized arguments: "
_RUN = "mlx-run"
"""Another name of ``mlxk run``."""
_HELP = ("-h", "--help")
_ALIASES = {"server": "serve"}
_NAMES_ON_THE_WIRE = {"serve": "server"}

_EPILOG = """\
MODEL is ORG/NAME, a part of it that fits one model only, the name of a workspace,
or a folder (./x ../x /x ~/x). ORG/NAME@REVISION means a branch, a tag or the first
characters of a commit.

Exit codes: 0 done, 1 refused or not found, 2 network, 3 files or permissions,
130 interrupted. More: mlxk COMMAND --help
"""


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
        raise UsageError(message, hint=self._meant(message) or f"See {self.prog} --help")

    def parse_mixed(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse options and words in any order; behind a -- all are words.

        argparse gives words that stand behind an option to nobody once one stood before it, and its own way around that
        takes words behind a leading -- for options. Here they are sorted: options first, then --, then words.
        """
        border = arguments.index("--") if "--" in arguments else len(arguments)
        options: list[str] = []
        words: list[str] = []
        due = 0.0
        for word in arguments[:border]:
            if word != "-" and self._parse_optional(word) is not None:
                options.append(word)
                due = self._values_of(word)
            elif due:
                options.append(word)
                due -= 1
            else:
                words.append(word)
        words += arguments[border + 1 :]
        given, unknown = self.parse_known_args([*options, "--", *words] if words else options)
        if words and "--" in unknown:
            unknown.remove("--")  # nobody typed it
        if unknown:
            self.error(f"{_UNKNOWN}{' '.join(unknown)}")
        return given

    def _values_of(self, option: str) -> float:
        """Return how many of the words behind an option are its own."""
        action = self._option_string_actions.get(option)
        if action is None or action.nargs == 0:
            return 0
        return math.inf if action.nargs == "+" else 1

    def _meant(self, message: str) -> str | None:
        """Return the option that somebody may have meant."""
        _, unknown, words = message.partition(_UNKNOWN)
        if not unknown:
            return None
        if not words.startswith("-"):
            takes_model = "--model" in self._option_string_actions and not self._get_positional_actions()
            return f"Did you mean --model {words.split()[0]}?" if takes_model else None
        close = _closest(words.split()[0].partition("=")[0], self._option_string_actions)
        return f"Did you mean {close}?" if close else None


def wire_name(command: str | None) -> str | None:
    """Return what the JSON contract calls a command."""
    return None if command is None else _NAMES_ON_THE_WIRE.get(command, command)


def split_command(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return what stands before the command, the command, and what stands behind it.

    ``help COMMAND`` and ``--help COMMAND`` are ``COMMAND --help``.
    """
    for place, word in enumerate(argv):
        if not word.startswith("-"):
            before, after = argv[:place], argv[place + 1 :]
            if word == "help":
                is_about_one = after and after[0] != word and not after[0].startswith("-")
                return (before, after[0], ["--help"]) if is_about_one else (before, word, after)
            if not set(before).isdisjoint(_HELP):
                return [option for option in before if option not in _HELP], word, ["--help"]
            return before, word, after
    return argv, None, []


def program_parser() -> Parser:
    """Return the parser for what stands before the command."""
    listing = "\n".join(f"  {name:10}{summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--json] [--debug] [--version] COMMAND ...",
        description=f"Keep, bring and check language models for MLX.\n\ncommands:\n{listing}",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.add_argument("--version", action="store_true", help="the same as the command version")
    return parser


def command_parser(name: str) -> Parser:
    """Return a parser for one command, to which its module adds what it takes."""
    is_short = name == "run" and os.path.basename(sys.argv[0]) == _RUN
    parser = Parser(
        prog=_RUN if is_short else f"{PROGRAM} {name}",
        formatter_class=HelpFormatter,
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.",
        allow_abbrev=False,
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="answer with one JSON document on stdout")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (also MLXK_DEBUG=1)")


def command_meant(word: str) -> str:
    """Return the command that a word means. Raises UsageError for an unknown one, with the nearest known one."""
    name = _ALIASES.get(word, word)
    if name not in COMMANDS:
        close = _closest(name, COMMANDS)
        hint = f"Did you mean {PROGRAM} {close}?" if close else f"See {PROGRAM} --help"
        msg = f"unknown command {name!r} (there are: {', '.join(COMMANDS)})"
        raise UsageError(msg, hint=hint)
    return name


def _closest(word: str, words: Iterable[str]) -> str | None:
    import difflib  # noqa: PLC0415 - only after a mistake

    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)
