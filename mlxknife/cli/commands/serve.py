"""``mlxk serve``, also called ``server``."""

from __future__ import annotations

import os
from argparse import ArgumentParser

import attrs

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.output import print_answer
from mlxknife.cli.wire_work import ServerData
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.settings import rules as server_settings
from mlxknife.domain.settings.values import ServerSettings


@attrs.frozen
class Options:
    """What was said; None leaves it to the surroundings."""

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


def add_arguments(parser: ArgumentParser) -> None:
    """Declare where it listens, whom it lets in, and what stays loaded."""
    parser.add_argument(
        "--model", metavar="MODEL", dest="models", action="append", help="load it at once, and keep it; can be repeated"
    )
    parser.add_argument("--host", metavar="H", help="the address to listen on (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", metavar="P", type=int, help="the port (default: 8000; 0: any that is free)")
    parser.add_argument("--api-key", metavar="K", help="refuse whoever does not bring this key (better: MLXK_API_KEY)")
    parser.add_argument(
        "--allow-host",
        metavar="H",
        dest="allowed_hosts",
        action="append",
        help="a name that the server goes by, too; can be repeated (*: any name)",
    )
    parser.add_argument(
        "--cors",
        metavar="ORIGIN",
        dest="cors_origins",
        action="append",
        help="whose web pages may use it: https://..., null for pages from files, * for all; can be repeated",
    )
    parser.add_argument("--max-tokens", metavar="N", type=int, help="the longest answer where nobody says")
    parser.add_argument("--max-loaded", metavar="N", type=int, help="how many models may be loaded at a time")
    parser.add_argument(
        "--idle-unload", metavar="S", dest="idle_seconds", type=float, help="unload what nobody used for S seconds"
    )
    parser.add_argument(
        "--cpu-profile",
        dest="profile",
        choices=memory.PROFILES,
        help="how a machine without GPU is used (see run --help)",
    )
    parser.add_argument(
        "--log-level", choices=server_settings.LOG_LEVELS, help="how much is told on stderr (default: info)"
    )
    parser.add_argument("--log-json", action="store_true", default=None, help="tell it as JSON, one document a line")
    parser.add_argument(
        "--reload", dest="reloads", action="store_true", default=None, help="start anew when the program's code changes"
    )


def run(app: App, options: Options, console: Console) -> Answer:
    """Serve until somebody ends it."""
    said = {name: value for name, value in attrs.asdict(options, recurse=False).items() if value is not None}
    settings: ServerSettings = attrs.evolve(app.server_settings(), **said)
    server_settings.check(settings)

    def tell(url: str) -> None:
        print_answer(_listening(url, settings), command="server", as_json=console.is_for_program)

    code = app.run_server(app, settings, tell)
    return Answer(data=lambda: None, lines=lambda _: (), exit_code=code, is_told=True)


def _listening(url: str, settings: ServerSettings) -> Answer:
    return Answer(
        data=lambda: ServerData(url=url, model=settings.models[0] if settings.models else None, pid=os.getpid()),
        lines=lambda _: ((f"Serving on {url} (Ctrl-C ends it)",),),
    )
