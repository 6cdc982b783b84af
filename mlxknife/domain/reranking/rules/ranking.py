"""Scores, and the order of documents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mlxknife.domain.errors import EngineError
from mlxknife.domain.reranking.values import RankedDocument, Score


def score(logit: float) -> float:
    """Return the score from 0 to 1 of what a model computed, by the logistic function. Raises EngineError for NaN."""
    if math.isnan(logit):
        msg = "The model produced NaN as a score"
        raise EngineError(msg)
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(max(logit, -745))  # the smallest power that is not 0
    return power / (1 + power)


def ranked(scores: Iterable[Score], documents: Sequence[str], top_k: int | None = None) -> tuple[RankedDocument, ...]:
    """Return documents, the best first; equal ones keep their order. ``top_k`` is the number of those to return."""
    order = sorted(scores, key=lambda one: (-one.score, one.index))
    return tuple(RankedDocument(one.index, one.score, documents[one.index], one.is_truncated) for one in order[:top_k])
