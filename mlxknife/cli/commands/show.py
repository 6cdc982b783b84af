"""``mlxk show``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.render import details
from mlxknife.cli.wire import FileObject, ShowData, metadata_object, model_object
from mlxknife.domain.models.values.info import ModelDetails, ModelFile
from mlxknife.domain.text.rules import display


@attrs.frozen
class Options:
    """Which model, and which parts of it."""

    model: str
    files: bool = False
    config: bool = False
    verify: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the model and the parts."""
    parser.add_argument("model", metavar="MODEL", help="a model of the cache, a workspace, or a folder")
    parser.add_argument("--files", action="store_true", help="list its files")
    parser.add_argument("--config", action="store_true", help="print its config.json")
    parser.add_argument("--verify", action="store_true", help="hash its files against their recorded hashes, offline")


def run(app: App, options: Options, console: Console) -> Answer:
    """Show one model."""
    found = app.catalog.show(options.model, verify=options.verify, progress=console.progress)
    now = app.system.now()
    return Answer(
        data=lambda: _data(found, options),
        lines=lambda room: details.lines(found, files=options.files, config=options.config, now=now, room=room),
    )


def _data(found: ModelDetails, options: Options) -> ShowData:
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
