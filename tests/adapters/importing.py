"""Taking over GGUF files in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.adapters.gguf.importer import GgufImporter
from mlxknife.domain.errors import ValidationError


def imported(folder: Path, data: bytes) -> Path:
    """Take over a GGUF file with these bytes."""
    source, destination = folder / "model.gguf", folder / "made"
    source.write_bytes(data)
    destination.mkdir()
    GgufImporter().import_gguf(str(source), str(destination))
    return destination


def refused(folder: Path, data: bytes) -> str:
    with pytest.raises(ValidationError) as caught:
        imported(folder, data)
    hint = caught.value.hint
    return " ".join((caught.value.message, *(() if hint is None else (hint.code, *hint.fields.values()))))
