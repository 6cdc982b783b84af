"""From arguments to an exit code: parse, run one command, print its answer or its error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlxknife.cli import process
from mlxknife.cli.arguments import (
    UsageError,
    command_meant,
    command_parser,
    program_parser,
    split_command,
    wire_name,
)
from mlxknife.cli.listener import ListenerGone
from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.cli.answer import Answer, Command

_COMMON = ("json", "debug")


def run_command_line(argv: list[str], open_app: Callable[[], App]) -> int:
    """Run one command line and return its exit code; whatever happens, stdout and stderr keep the contract."""
    process.prepare_streams()
    return process.finished(lambda: _run(argv, open_app), what="the answer")


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
    except ListenerGone as exc:
        raise exc.error from exc
    except KeyboardInterrupt as exc:
        if not as_json:
            raise
        from mlxknife.cli.errors import report_interrupt  # noqa: PLC0415 - most runs have no error

        return report_interrupt(exc, command=wire_name(name))
    except Exception as exc:  # noqa: BLE001 - the last stop before the user: everything becomes an error of the contract
        from mlxknife.cli.errors import report  # noqa: PLC0415 - most runs have no error

        return report(
            exc, command=wire_name(name), as_json=as_json, debug="--debug" in words or process.wants_tracebacks()
        )
    if name is None:
        return _print_without_command(wants_version=program.version)
    from mlxknife.cli.output import print_answer  # noqa: PLC0415 - --version and --help need none of it

    return print_answer(answer, command=wire_name(name) or name, as_json=as_json)


def _command_name(word: str | None, *, wants_version: bool) -> str:
    if wants_version:
        return "version"
    if word == "help":
        program_parser().print_help()
        raise SystemExit(0)
    if word is None:
        msg = "no command given"
        raise UsageError(msg, hint="See mlxk --help")
    return command_meant(word)


def _answer(name: str, arguments: list[str], open_app: Callable[[], App], *, as_json: bool) -> Answer:
    from mlxknife.cli.console import Console  # noqa: PLC0415 - --version and --help need none of it

    command: Command = importlib.import_module(f"mlxknife.cli.commands.{name}")
    parser = command_parser(name)
    command.add_arguments(parser)
    given = vars(parser.parse_mixed(arguments))
    options = command.Options(**{key: value for key, value in given.items() if key not in _COMMON})
    return command.run(open_app(), options, Console(as_json=as_json))


def _print_without_command(*, wants_version: bool) -> int:
    if wants_version:
        sys.stdout.write(f"mlxk {__version__}\n")
    else:
        program_parser().print_help()
    return 0
