"""Facts about models that exist only in tests."""

from __future__ import annotations

from mlxknife.domain.catalog.rules import capabilities, model_card
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelCard, ModelTraits
from mlxknife.domain.models.values.snapshot import Location, SnapshotFacts
from tests.builder import Files, chat_files, json_bytes
from tests.fakes.snapshot_reader import FakeReader


def facts_of(files: Files) -> SnapshotFacts:
    """Return the facts of files, as an adapter reads them."""
    disk = {f"/model/{name}": data for name, data in files.items()}
    return FakeReader(disk).read(Location("/model", ("/model",)), filenames.READING_LIST)


def traits_of(files: Files, name: str = "org/name") -> ModelTraits:
    """Return the traits of files, as the catalog detects them."""
    parsed = model_card.parse(files[filenames.CARD].decode()) if filenames.CARD in files else ModelCard()
    return capabilities.detect(name, facts_of(files), parsed)


def with_config(**config: object) -> Files:
    """Return a model with only this config.json."""
    return chat_files() | {"config.json": json_bytes(config)}


def without(files: Files, *names: str) -> Files:
    """Return the files without some."""
    return {name: data for name, data in files.items() if name not in names}
