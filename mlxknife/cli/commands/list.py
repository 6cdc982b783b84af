"""``mlxk list``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.render import listing
from mlxknife.cli.wire import ListData, TrashObject, model_object


@attrs.frozen
class Options:
    """What to list, and how much of it people see."""

    pattern: str = ""
    all: bool = False
    verbose: bool = False
    health: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the pattern and the filters for people."""
    parser.add_argument(
        "pattern",
        nargs="?",
        default="",
        metavar="PATTERN",
        help="only models whose name contains this, in any case",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every framework and type, not only MLX chat models",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="all MLX models, full names, more columns",
    )
    parser.add_argument("--health", action="store_true", help="a column for the health of each model")


def run(app: App, options: Options, console: Console) -> Answer:
    """List the models; JSON is never filtered but for the pattern."""
    del console
    models = app.catalog.list(options.pattern)
    trash = app.removal_store.trash()
    now = app.system.now()
    view = listing.View(show_all=options.all, verbose=options.verbose, health=options.health, pattern=options.pattern)
    return Answer(
        data=lambda: ListData(
            models=tuple(map(model_object, models)),
            count=len(models),
            trash=tuple(TrashObject(item.label, item.size_bytes) for item in trash) or UNSET,
        ),
        lines=lambda room: (
            *listing.lines(models, view, now=now, room=room),
            *listing.trash_lines(trash),
        ),
    )
