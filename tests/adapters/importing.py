"""Importing GGUF files in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.adapters.gguf.importer import GgufImporter
from mlxknife.domain.errors import ValidationError


def imported(folder: Path, data: bytes) -> Path:
    """Import a GGUF file with these bytes and return the folder of the result."""
    source, destination = folder / "model.gguf", folder / "made"
    source.write_bytes(data)
    destination.mkdir()
    GgufImporter().import_gguf(str(source), str(destination))
    return destination


def refused(folder: Path, data: bytes) -> str:
    """Return the message and hint of the error that the import of these bytes raises."""
    with pytest.raises(ValidationError) as caught:
        imported(folder, data)
    hint = caught.value.hint
    return " ".join((caught.value.message, *(() if hint is None else (hint.code, *hint.fields.values()))))
