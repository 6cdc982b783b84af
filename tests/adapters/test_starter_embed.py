"""The starter embedder, pulled from the package index: similar texts get similar vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mlxknife.adapters.mlx.embedding.model import EncoderLoader
from mlxknife.adapters.starter.wheels import WheelStarters
from mlxknife.domain.embedding.rules.settings import DOCUMENTS
from mlxknife.domain.embedding.services.engine import EmbeddingEngine
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.system.progress import NoProgress
from tests.shared import WHEELS, wheels_in_use

_TEXTS = ("A man is eating food.", "A man eats a meal.", "The stock market fell sharply today.")


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.timeout(600)
def test_similar_texts_get_similar_vectors(tmp_path: Path) -> None:
    starter = starters.named("starter-embed")
    assert starter is not None
    with wheels_in_use():
        folder = WheelStarters(str(WHEELS)).fetch(starter, str(tmp_path), NoProgress())
    engine = EmbeddingEngine(EncoderLoader().load(LoadRequest(Location(folder, ()), "fast"), DOCUMENTS))
    request = EmbeddingRequest(_TEXTS)
    engine.submit(1, engine.tokenize(request, engine.render(request)))
    found = {event.index: event.vector for _, event in engine.step() if isinstance(event, Embedding)}
    assert dot(found[0], found[1]) == pytest.approx(0.908, abs=1e-3)
    assert dot(found[0], found[2]) == pytest.approx(0.004, abs=1e-3)
