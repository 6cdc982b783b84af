"""Models of indexes: an index is only used with the model whose vectors it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlxknife.domain.errors import IndexModelMismatch
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.retrieval.values import IndexModel

PROBE = "The quick brown fox jumps over the lazy dog, and 42 swans watch from the river."
"""The text whose embeddings show whether a model, its prompts and its pooling are those of the index."""
_SAME = 0.9999
"""Devices and batches change a cosine by less than 1e-5."""


def check_same(index: str, stored: IndexModel, opened: IndexModel) -> None:
    """Raise IndexModelMismatch unless the opened model is the one whose vectors the index holds."""
    if opened.name != stored.name or opened.revision != stored.revision:
        msg = f"The index {index} has vectors of '{stored.spec}', and those of '{opened.spec}' do not fit them"
    elif opened.dimensions != stored.dimensions:
        msg = (
            f"The index {index} has vectors of {stored.dimensions} dimensions, and '{opened.name}' makes vectors of "
            f"{opened.dimensions}"
        )
    elif not all(map(_is_same, stored.probes, opened.probes)):
        msg = f"'{opened.name}' no longer makes the vectors that the index {index} holds: its files have changed"
    else:
        return
    raise IndexModelMismatch(msg, hint=Hint(HintCode.NEW_INDEX))


def _is_same(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two vectors of length 1 point in the same direction."""
    return len(one) == len(other) and math.fsum(a * b for a, b in zip(one, other, strict=True)) >= _SAME
