"""``mlxk show``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import FileObject, ShowData
from mlxknife.cli.render.model_json import metadata_object, model_object
from mlxknife.cli.render.show import show_lines
from mlxknife.cli.result import CommandResult
from mlxknife.domain.models.values.info import ModelDetails, ModelFile
from mlxknife.domain.text.rules import display


@attrs.frozen
class ShowOptions:
    """The model, and the parts of it to show."""

    model: str
    files: bool = False
    config: bool = False
    verify: bool = False


OPTIONS = ShowOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model and its parts."""
    parser.add_argument("model", metavar="MODEL", help="a model in the cache, a workspace, or a path")
    parser.add_argument("--files", action="store_true", help="list its files")
    parser.add_argument("--config", action="store_true", help="print its config.json")
    parser.add_argument("--verify", action="store_true", help="hash its files and check them, offline")


def run(app: App, options: ShowOptions, console: Console) -> CommandResult:
    """Show one model. Raises KnifeError."""
    found = app.catalog.show(options.model, verify=options.verify, progress=console.progress)
    now = app.system.now()
    return CommandResult(
        data=lambda: _data(found, options),
        lines=lambda columns: show_lines(found, files=options.files, config=options.config, now=now, columns=columns),
    )


def _data(found: ModelDetails, options: ShowOptions) -> ShowData:
    return ShowData(
        model=model_object(found.info),
        files=tuple(map(_file_object, found.files)) if options.files else UNSET,
        config=found.config if options.config else UNSET,
        metadata=None if options.files or options.config else metadata_object(found.metadata),
    )


def _file_object(file: ModelFile) -> FileObject:
    return FileObject(
        name=file.name,
        size=display.size(file.size_bytes),
        type=file.kind,
        size_bytes=file.size_bytes,
        integrity=file.integrity.value if file.integrity is not None else UNSET,
    )
