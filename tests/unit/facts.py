"""Facts about models that are nowhere but in a test."""

from __future__ import annotations

from mlxknife.domain.catalog.rules import capabilities, model_card
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelCard, ModelTraits
from mlxknife.domain.models.values.snapshot import Location, SnapshotFacts
from tests.builder import Files, chat_files, json_bytes
from tests.fakes.snapshot_reader import FakeReader


def facts_of(files: Files) -> SnapshotFacts:
    """Read files as an adapter would."""
    disk = {f"/model/{name}": data for name, data in files.items()}
    return FakeReader(disk).read(Location("/model", ("/model",)), filenames.READING_LIST)


def traits_of(files: Files, name: str = "org/name") -> ModelTraits:
    """Describe files as the catalog would."""
    parsed = model_card.parse(files[filenames.CARD].decode()) if filenames.CARD in files else ModelCard()
    return capabilities.detect(name, facts_of(files), parsed)


def with_config(**config: object) -> Files:
    """Return a model whose config.json says this and nothing else."""
    return chat_files() | {"config.json": json_bytes(config)}


def without(files: Files, *names: str) -> Files:
    """Return the files but for some."""
    return {name: data for name, data in files.items() if name not in names}
