"""``mlxk list``."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import ListData, TrashObject
from mlxknife.cli.render.list import ListView, list_lines, trash_lines
from mlxknife.cli.render.model_json import model_object, system_object
from mlxknife.cli.result import CommandResult


@attrs.frozen
class ListOptions:
    """The models to list, and the filters and columns of the text."""

    pattern: str = ""
    all: bool = False
    verbose: bool = False
    health: bool = False


OPTIONS = ListOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the pattern, and the filters of the text."""
    parser.add_argument(
        "pattern",
        nargs="?",
        default="",
        metavar="PATTERN",
        help="only models whose name contains this text (case-insensitive)",
    )
    parser.add_argument(
        "--all",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="models of every framework and type, not only MLX chat models",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="all MLX models, with full names and more columns",
    )
    parser.add_argument(
        "--health", action=BooleanOptionalAction, default=SUPPRESS, help="add a column with the health of each model"
    )


def run(app: App, options: ListOptions, console: Console) -> CommandResult:
    """List the models. Only the pattern filters the JSON document. Raises KnifeError."""
    del console
    models = app.catalog.list(options.pattern)
    trash = app.removal_store.trash()
    now = app.system.now()
    view = ListView(show_all=options.all, verbose=options.verbose, health=options.health, pattern=options.pattern)
    return CommandResult(
        data=lambda: ListData(
            models=tuple(map(model_object, models)),
            count=len(models),
            system=system_object(app.system.memory_total_bytes()),
            trash=tuple(TrashObject(item.label, item.size_bytes) for item in trash) or UNSET,
        ),
        lines=lambda columns: (
            *list_lines(models, view, now=now, columns=columns),
            *trash_lines(trash),
        ),
    )
