"""From arguments to an exit code: parse, run one command, print its answer or its error."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING

from mlxknife.cli.arguments import (
    UsageError,
    check_command,
    command_parser,
    program_parser,
    split_command,
)
from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.cli.answer import Answer, Command

INTERRUPTED = 130
BROKEN_PIPE = 141
UNWRITABLE = 3

_COMMON = ("json", "debug")
_SWITCHED_OFF = ("", "0", "false", "no", "off")


def run_command_line(argv: list[str], open_app: Callable[[], App]) -> int:
    """Run one command line and return its exit code; whatever happens, stdout and stderr keep the contract."""
    _prepare_streams()
    try:
        code = _run(argv, open_app)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away
        _give_up_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        _give_up_stdout()
        sys.stderr.write(f"error: the answer cannot be written: {exc.strerror}\n")
        return UNWRITABLE
    return code


def _run(argv: list[str], open_app: Callable[[], App]) -> int:
    before, word, after = split_command(argv)
    words = [*before, *(after[: after.index("--")] if "--" in after else after)]
    as_json = "--json" in words
    name: str | None = None
    try:
        program = program_parser().parse_args(before)
        if word is not None or as_json:
            name = _command_name(word, wants_version=program.version)
            answer = _answer(name, after, open_app, as_json=as_json)
    except SystemExit as exc:  # --help has printed itself
        return exc.code if isinstance(exc.code, int) else 0
    except Exception as exc:  # noqa: BLE001 - the last stop before the user: everything becomes an error of the contract
        from mlxknife.cli.errors import report  # noqa: PLC0415 - most runs have no error

        return report(exc, command=name, as_json=as_json, debug="--debug" in words or _debug_is_on())
    if name is None:
        return _print_without_command(wants_version=program.version)
    from mlxknife.cli.output import print_answer  # noqa: PLC0415 - --version and --help need none of it

    return print_answer(answer, command=name, as_json=as_json)


def _command_name(word: str | None, *, wants_version: bool) -> str:
    if wants_version:
        return "version"
    if word == "help":
        program_parser().print_help()
        raise SystemExit(0)
    if word is None:
        msg = "no command given"
        raise UsageError(msg, hint="See mlxk --help")
    check_command(word)
    return word


def _answer(name: str, arguments: list[str], open_app: Callable[[], App], *, as_json: bool) -> Answer:
    from mlxknife.cli.console import Console  # noqa: PLC0415 - --version and --help need none of it

    command: Command = importlib.import_module(f"mlxknife.cli.commands.{name}")
    parser = command_parser(name)
    command.add_arguments(parser)
    given = vars(parser.parse_args(arguments))
    options = command.Options(**{key: value for key, value in given.items() if key not in _COMMON})
    return command.run(open_app(), options, Console(as_json=as_json))


def _print_without_command(*, wants_version: bool) -> int:
    if wants_version:
        sys.stdout.write(f"mlxk {__version__}\n")
    else:
        program_parser().print_help()
    return 0


def _prepare_streams() -> None:
    """Make sure that there are streams, and that they take any text."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - a caller closed it
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_stdout() -> None:
    """Send what is left in the buffer nowhere, so that nothing complains about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _debug_is_on() -> bool:
    """Ask the environment, because errors must be reported before and without any settings."""
    value = os.environ.get("MLXK_DEBUG") or os.environ.get("MLXK2_DEBUG") or ""
    return value.lower() not in _SWITCHED_OFF
