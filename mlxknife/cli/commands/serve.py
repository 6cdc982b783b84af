"""``mlxk serve``, also called ``server``."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction

import attrs

from mlxknife.app import App
from mlxknife.cli.arguments import add_remote_code
from mlxknife.cli.console import Console
from mlxknife.cli.envelope import print_result
from mlxknife.cli.json_documents import ServerData
from mlxknife.cli.result import CommandResult
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.settings.rules import checks as server_settings
from mlxknife.domain.settings.values.settings import ServerSettings


@attrs.frozen
class ServeOptions:
    """The options that were given. None means the environment or the config file decides."""

    host: str | None = None
    port: int | None = None
    models: tuple[str, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(tuple))
    api_key: str | None = attrs.field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(tuple))
    cors_origins: tuple[str, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(tuple))
    max_tokens: int | None = None
    max_loaded: int | None = None
    idle_seconds: float | None = None
    profile: str | None = None
    log_level: str | None = None
    log_json: bool | None = None
    reloads: bool | None = None
    allow_remote_code: bool = False


_QUIET = "error"
"""The log level at which nothing but errors is printed, not even the address."""

OPTIONS = ServeOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the address, the access rules, the limits and the log options of the server."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        dest="models",
        action="append",
        help="load this model at the start and keep it loaded; repeatable",
    )
    parser.add_argument("--host", metavar="H", help="the address to listen on (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", metavar="P", type=int, help="the port (default: 8000; 0: any free port)")
    parser.add_argument("--api-key", metavar="K", help="the key that clients must send (better: MLXK_API_KEY)")
    parser.add_argument(
        "--allow-host",
        metavar="H",
        dest="allowed_hosts",
        action="append",
        help="an additional host name that clients may use; repeatable (*: any name)",
    )
    parser.add_argument(
        "--cors",
        metavar="ORIGIN",
        dest="cors_origins",
        action="append",
        help="an origin whose web pages may use the server: https://..., null for pages from files, * for all; "
        "repeatable",
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, help="the maximum length of an answer, if the request sets none"
    )
    parser.add_argument("--max-loaded", metavar="N", type=int, help="the maximum number of loaded models")
    parser.add_argument(
        "--idle-unload",
        metavar="S",
        dest="idle_seconds",
        type=float,
        help="unload models S seconds after their last use",
    )
    parser.add_argument(
        "--cpu-profile",
        dest="profile",
        choices=memory.PROFILES,
        help="conversion of the weights on a machine without a GPU (see mlxk run --help)",
    )
    parser.add_argument(
        "--log-level", choices=server_settings.LOG_LEVELS, help="the level of the log on stderr (default: info)"
    )
    parser.add_argument(
        "-v", "--verbose", dest="log_level", action="store_const", const="debug", help="the same as --log-level debug"
    )
    parser.add_argument(
        "--log-json", action=BooleanOptionalAction, default=SUPPRESS, help="log as JSON, one document per line"
    )
    parser.add_argument(
        "--reload",
        dest="reloads",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="restart when the program's code changes",
    )
    add_remote_code(parser)


def run(app: App, options: ServeOptions, console: Console) -> CommandResult:
    """Serve until Ctrl-C or SIGTERM; print the address as soon as the server listens. Raises KnifeError."""
    given = {name: value for name, value in attrs.asdict(options, recurse=False).items() if value is not None}
    settings: ServerSettings = attrs.evolve(app.server_settings(), **given)
    server_settings.check(settings)

    def announce(url: str) -> None:
        if settings.log_level == _QUIET and not console.is_json:
            return
        print_result(_listening(url, settings), command="server", as_json=console.is_json)

    code = app.serve(settings, announce)
    return CommandResult(data=lambda: None, lines=lambda _: (), exit_code=code, is_printed=True)


def _listening(url: str, settings: ServerSettings) -> CommandResult:
    return CommandResult(
        data=lambda: ServerData(url=url, model=settings.models[0] if settings.models else None, pid=os.getpid()),
        lines=lambda _: ((f"Serving on {url} (Ctrl-C stops it)",),),
    )
