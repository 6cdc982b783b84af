"""``mlxk show``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs
from msgspec import UNSET

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.render import details, units
from mlxknife.cli.wire import FileObject, MetadataObject, ShowData, model_object
from mlxknife.domain.model.info import ModelDetails, ModelFile
from mlxknife.domain.rules.configs import architecture, count


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
        lines=lambda _: details.lines(found, _metadata(found), files=options.files, config=options.config, now=now),
    )


def _data(found: ModelDetails, options: Options) -> ShowData:
    return ShowData(
        model=model_object(found.info),
        files=tuple(map(_file_object, found.files)) if options.files else UNSET,
        config=found.config if options.config else UNSET,
        metadata=None if options.files or options.config else _metadata(found),
    )


def _file_object(file: ModelFile) -> FileObject:
    return FileObject(
        name=file.name,
        size=units.size(file.size_bytes),
        type=file.kind,
        size_bytes=file.size_bytes,
        integrity=file.integrity.value if file.integrity is not None else UNSET,
    )


def _metadata(found: ModelDetails) -> MetadataObject:
    quantization = found.info.traits.quantization
    return MetadataObject(
        model_type=architecture(found.config),
        quantization=f"{quantization.bits}bit" if quantization else None,
        context_length=found.info.traits.context_length,
        vocab_size=count(found.config, "vocab_size"),
        hidden_size=count(found.config, "hidden_size", "n_embd", "d_model"),
        num_attention_heads=count(found.config, "num_attention_heads", "n_head"),
        num_hidden_layers=count(found.config, "num_hidden_layers", "n_layer"),
    )
