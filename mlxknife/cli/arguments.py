"""Command-line arguments: argparse that raises UsageError (exit code 1) where it would print and exit with 2."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from mlxknife.cli.render.help import HelpFormatter

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

PROGRAM = "mlxk"
STDIN = "-"
"""The argument that stands for stdin."""

COMMANDS = {
    "list": "list the models in the cache and the workspaces (alias: ls)",
    "show": "show the details of a model",
    "health": "check the files of models for damage",
    "pull": "download a model, or repair a damaged one",
    "rm": "remove a model, one of its revisions, or unused files",
    "run": "generate text: answer a prompt, chat, or work in a pipe (chat: the same as run -c)",
    "embed": "print the embeddings of texts as JSON lines",
    "index": "make or update a search index of text files, code and PDF files",
    "search": "search an index by meaning and by words",
    "rerank": "rank documents for a query, and print them as JSON lines",
    "serve": "serve models over an OpenAI-compatible HTTP API (alias: server)",
    "config": "show the settings and their sources, or change the config file",
    "version": "print the version of the program and of its JSON contract",
}
"""Every command and its description. Its module is ``mlxknife.cli.commands.<name>``, imported on use."""

_UNRECOGNIZED = "unrecognized arguments: "
_SCRIPTS = {"run": "mlx-run", "embed": "mlx-embed"}
"""The console scripts that are a command: ``mlx-run`` is ``mlxk run``."""
_HELP = ("-h", "--help")
_NEVER_SUGGESTED = ("--force", "--out", "rm")
"""A typing error must not lead to what deletes or overwrites."""
_NEGATIONS = ("--no", "--hide")
_FILE = "FILE"
"""The metavar of options that read files; ``-`` after them is stdin, not a file."""
_ALIASES = {"chat": "run", "ls": "list", "server": "serve"}
_ALIAS_OPTIONS = {"chat": ("--chat",)}
"""The options that an alias stands for."""
_JSON_NAMES = {"serve": "server"}

_EPILOG = """\
MODEL is ORG/NAME, a part of the name that matches only one model, the name of a workspace,
or a path (./x ../x /x ~/x). ORG/NAME@REVISION selects a branch, a tag, or a commit by its
first characters.

Exit codes: 0 success, 1 usage error, not found or refused, 2 network error,
3 filesystem error, 130 interrupted. More: mlxk COMMAND --help
"""


class UsageError(Exception):
    """A command line that cannot be parsed."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        """Keep the message, and the next step for the user."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message that argparse would print."""
        raise UsageError(message, hint=self._suggestion(message) or f"See {self.prog} --help")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print a help text. argparse itself ignores a failure, such as a full disk."""
        (file or sys.stderr).write(message)

    def parse_mixed(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse options and positional arguments in any order. Everything after ``--`` is positional.

        ``-`` is stdin, also after an option that takes several values. It ends their list.

        ``parse_args`` rejects positional arguments on both sides of an option, and ``parse_intermixed_args`` ignores a
        leading ``--``. So the arguments are sorted first: options, then ``--``, then positional arguments. Raises
        UsageError.
        """
        border = arguments.index("--") if "--" in arguments else len(arguments)
        options: list[str] = []
        positionals: list[str] = []
        values_left = 0.0
        for argument in arguments[:border]:
            if argument != STDIN and self._parse_optional(argument) is not None:
                options.append(argument)
                values_left = self._value_count(argument)
            elif argument == STDIN and values_left == math.inf and self._ends_values(options):
                positionals.append(argument)
                values_left = 0
            elif values_left:
                options.append(argument)
                values_left -= 1
            else:
                positionals.append(argument)
        positionals += arguments[border + 1 :]
        parsed, unknown = self.parse_known_args([*options, "--", *positionals] if positionals else options)
        if positionals and "--" in unknown:
            unknown.remove("--")  # ours, not the user's
        if unknown:
            self.error(f"{_UNRECOGNIZED}{' '.join(unknown)}")
        return parsed

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:  # noqa: ANN401 - as argparse has it
        """Return the value of an argument. argparse would drop the ``--`` of ``--out=--``, and return an empty list."""
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value if action.nargs is None else [value]
        return super()._get_values(action, arg_strings)

    def omit_unset(self) -> None:
        """Leave options that are not given out of the result: then the config file decides, or a default."""
        for action in self._actions:
            if action.option_strings:
                action.default = argparse.SUPPRESS

    def _value_count(self, option: str) -> float:
        """Return how many of the following arguments are values of an option."""
        action = self._option_string_actions.get(option)
        if action is None or action.nargs == 0:
            return 0
        return math.inf if action.nargs == "+" else 1

    def _ends_values(self, options: list[str]) -> bool:
        """Return whether ``-`` ends the values of the last option, rather than being its first value.

        An option that reads files may have none before it: it is removed then.
        """
        action = self._option_string_actions.get(options[-1])
        if action is not None and action.metavar == _FILE:
            options.pop()
            return True
        return action is None

    def _suggestion(self, message: str) -> str | None:
        """Return a hint that names the option the user probably meant."""
        _, is_unrecognized, arguments = message.partition(_UNRECOGNIZED)
        if not is_unrecognized:
            return None
        if not arguments.startswith("-"):
            takes_model = "--model" in self._option_string_actions and not self._get_positional_actions()
            return f"Did you mean --model {arguments.split()[0]}?" if takes_model else None
        close = closest(arguments.split()[0].partition("=")[0], self._option_string_actions)
        return f"Did you mean {close}?" if close else None


def alias_options(word: str | None) -> tuple[str, ...]:
    """Return the options that a command's alias stands for: ``chat`` is ``run --chat``."""
    return _ALIAS_OPTIONS.get(word or "", ())


def add_remote_code(parser: argparse.ArgumentParser) -> None:
    """Add the option of every command that loads models. No variable and no config file sets it."""
    parser.add_argument(
        "--allow-remote-code",
        action="store_true",
        help="let a model that needs Python code of its repo run it, with your rights",
    )


def json_name(command: str | None) -> str | None:
    """Return the name of a command in the JSON contract."""
    return None if command is None else _JSON_NAMES.get(command, command)


def split_command(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return the arguments before the command, the command, and the arguments after it.

    ``help COMMAND`` and ``--help COMMAND`` become ``COMMAND --help``.
    """
    for place, word in enumerate(argv):
        if not word.startswith("-"):
            before, after = argv[:place], argv[place + 1 :]
            if word == "help":
                names_command = after and after[0] != word and not after[0].startswith("-")
                return (before, after[0], ["--help"]) if names_command else (before, word, after)
            if not set(before).isdisjoint(_HELP):
                return [option for option in before if option not in _HELP], word, ["--help"]
            return before, word, after
    return argv, None, []


def program_parser() -> Parser:
    """Return the parser of the options before the command, whose help lists the commands."""
    listing = "\n".join(f"  {name:10}{summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--json] [--debug] [--version] COMMAND ...",
        description=f"Manage, check, run and serve language models for MLX.\n\ncommands:\n{listing}",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.add_argument("-v", "-V", "--version", action="store_true", help="print the version and exit")
    return parser


def command_parser(name: str) -> Parser:
    """Return the parser of one command, without the arguments that its module adds."""
    script = _SCRIPTS.get(name)
    parser = Parser(
        prog=script if script == os.path.basename(sys.argv[0]) and script else f"{PROGRAM} {name}",
        formatter_class=HelpFormatter,
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.",
        allow_abbrev=False,
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document to stdout")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (also MLXK_DEBUG=1)")


def resolve_command(word: str) -> str:
    """Return the command for a name or alias. Raises UsageError for an unknown one, with the nearest as a hint."""
    name = _ALIASES.get(word, word)
    if name not in COMMANDS:
        close = closest(name, (*COMMANDS, *_ALIASES))
        hint = f"Did you mean {PROGRAM} {close}?" if close else f"See {PROGRAM} --help"
        msg = f"unknown command {name!r} (choose from {', '.join(COMMANDS)})"
        raise UsageError(msg, hint=hint)
    return name


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the most similar word, unless it means the opposite, or deletes or overwrites something."""
    import difflib  # noqa: PLC0415 - only after a mistake

    close = next(iter(difflib.get_close_matches(word, list(words), n=1)), None)
    if close is None or close in _NEVER_SUGGESTED or close.startswith(_NEGATIONS) is not word.startswith(_NEGATIONS):
        return None
    return close
