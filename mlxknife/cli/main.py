"""From arguments to an exit code: parse, run one command, print its answer or its error."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlxknife.cli.arguments import (
    UsageError,
    check_command,
    command_parser,
    program_parser,
)
from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.cli.answer import Command

INTERRUPTED = 130
BROKEN_PIPE = 141

_COMMON = ("json", "debug")
_SWITCHED_OFF = ("", "0", "false", "no", "off")


def run_command_line(argv: list[str], open_app: Callable[[], App]) -> int:
    """Run one command line and return its exit code; whatever happens, stdout and stderr keep the contract."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(argv, open_app)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away. What is left in the buffer must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(argv: list[str], open_app: Callable[[], App]) -> int:
    words = argv[: argv.index("--")] if "--" in argv else argv
    as_json = "--json" in words
    name: str | None = None
    try:
        program = program_parser().parse_args(argv)
        if program.command is None and not as_json:
            return _answer_without_command(wants_version=program.version)
        name = _command_name(program.command, wants_version=program.version)
        command: Command = importlib.import_module(f"mlxknife.cli.commands.{name}")
        parser = command_parser(name)
        command.add_arguments(parser)
        given = vars(parser.parse_args(program.arguments))
        options = command.Options(**{key: value for key, value in given.items() if key not in _COMMON})
        answer = command.run(open_app(), options)

        from mlxknife.cli.output import print_answer  # noqa: PLC0415 - --version and --help need none of it

        return print_answer(answer, command=name, as_json=as_json)
    except SystemExit as exc:  # --help has printed itself
        return exc.code if isinstance(exc.code, int) else 0
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as exc:  # noqa: BLE001 - the last stop before the user: everything becomes an error of the contract
        from mlxknife.cli.errors import report  # noqa: PLC0415 - most runs have no error

        return report(
            exc,
            command=name,
            as_json=as_json,
            debug="--debug" in words or _debug_is_on(),
        )


def _command_name(word: str | None, *, wants_version: bool) -> str:
    if wants_version:
        return "version"
    if word is None:
        msg = "no command given"
        raise UsageError(msg, hint="See mlxk --help")
    check_command(word)
    return word


def _answer_without_command(*, wants_version: bool) -> int:
    if wants_version:
        sys.stdout.write(f"mlxk {__version__}\n")
    else:
        program_parser().print_help()
    return 0


def _debug_is_on() -> bool:
    """Ask the environment, because errors must be reported before and without any settings."""
    value = os.environ.get("MLXK_DEBUG") or os.environ.get("MLXK2_DEBUG") or ""
    return value.lower() not in _SWITCHED_OFF
