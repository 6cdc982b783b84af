"""From the arguments of ``mlxk`` to its exit code: parse, run one command, print its result or its error."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Protocol

from mlxknife.cli.arguments import (
    UsageError,
    alias_options,
    command_parser,
    json_name,
    program_parser,
    resolve_command,
    split_command,
)
from mlxknife.cli.streams import StdoutError, prepare_streams, run_to_exit_code
from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.cli.result import CommandModule, CommandResult

_COMMON = ("json", "debug")
_WITHOUT_CONFIG = ("config", "version")
"""The commands that work with a config file that is broken."""


class OpenApp(Protocol):
    """Opens the application. Raises ValidationError or StorageError for a config file that it reads."""

    def __call__(self, *, reads_config: bool = True) -> App:
        """Open it, with or without the config file."""
        ...


def run_command_line(argv: list[str], open_app: OpenApp) -> int:
    """Run one command line and return its exit code. Every error is printed as the contract says; nothing is raised."""
    prepare_streams()
    return run_to_exit_code(lambda: _run(argv, open_app), output="the answer")


def _run(argv: list[str], open_app: OpenApp) -> int:
    before, word, after = split_command(argv)
    arguments = [*before, *(after[: after.index("--")] if "--" in after else after)]
    as_json = "--json" in arguments
    name: str | None = None
    try:
        program = program_parser().parse_args(before)
        if word is not None or as_json:
            name = _command_name(word, is_version=program.version)
            result = _run_command(name, [*alias_options(word), *after], open_app, as_json=as_json)
    except StdoutError as exc:
        raise exc.error from exc
    except KeyboardInterrupt as exc:
        if not as_json:
            raise
        from mlxknife.cli.errors import report_interrupt  # noqa: PLC0415 - only after an error

        return report_interrupt(exc, command=json_name(name))
    except Exception as exc:  # noqa: BLE001 - the last handler: every error is printed as the contract says
        from mlxknife.cli.errors import is_debug_enabled, report_error  # noqa: PLC0415 - only after an error

        is_debug = "--debug" in arguments or is_debug_enabled()
        return report_error(exc, command=json_name(name), as_json=as_json, debug=is_debug)
    if name is None:
        return _print_version_or_help(is_version=program.version)
    from mlxknife.cli.envelope import print_result  # noqa: PLC0415 - --version and --help do not need it

    return print_result(result, command=json_name(name) or name, as_json=as_json)


def _command_name(word: str | None, *, is_version: bool) -> str:
    if is_version:
        return "version"
    if word == "help":
        program_parser().print_help()
        raise SystemExit(0)
    if word is None:
        msg = "no command given"
        raise UsageError(msg, hint="See mlxk --help")
    return resolve_command(word)


def _run_command(name: str, arguments: list[str], open_app: OpenApp, *, as_json: bool) -> CommandResult:
    from mlxknife.cli.console import Console  # noqa: PLC0415 - --version and --help do not need it

    command: CommandModule = importlib.import_module(f"mlxknife.cli.commands.{name}")
    parser = command_parser(name)
    command.add_arguments(parser)
    parser.omit_unset()
    parsed = vars(parser.parse_mixed(arguments))
    app = open_app(reads_config=name not in _WITHOUT_CONFIG)
    given = {key: value for key, value in parsed.items() if key not in _COMMON}
    options = command.OPTIONS(**{**app.settings.command_options.get(name, {}), **given})
    return command.run(app, options, Console(as_json=as_json))


def _print_version_or_help(*, is_version: bool) -> int:
    if is_version:
        sys.stdout.write(f"mlxk {__version__}\n")
    else:
        program_parser().print_help()
    return 0
