"""Rerankers: which ones can be run. Their encoders are our own, and need no installed package."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.domain.compatibility.rules import encoders
from mlxknife.domain.encoders.rules import rerankers
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.snapshot import SnapshotFacts


def reasons(facts: SnapshotFacts) -> Iterator[str]:
    """Yield the reasons why an intact reranker cannot be run; none if it can."""
    names = facts.names()
    if not any("/" not in name and name.endswith(filenames.SAFETENSORS) for name in names):
        yield encoders.no_weights(names, "beside config.json")
    try:
        rerankers.read(facts.json_object(filenames.CONFIG))
    except ModelNotRunnable as exc:
        yield exc.message
    if filenames.TOKENIZER_JSON not in names:
        yield f"Rerankers need {filenames.TOKENIZER_JSON}"
