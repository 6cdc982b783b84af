"""Ranking: the hits of a search, from what was found by vectors and what was found by words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from mlxknife.domain.checks import check_range
from mlxknife.domain.reranking.values import RankedDocument
from mlxknife.domain.retrieval.values import Candidates, Hit, Passage, SearchMode

RANK_OFFSET = 5
"""The constant of reciprocal rank fusion: the larger, the less the first ranks weigh. The usual 60 makes a chunk in the
middle of both rankings better than the first of one of them."""
WORDS_WEIGHT = 0.5
"""What a rank by words counts, for one by vectors."""
MAX_HITS = 1000
RERANKED = 30
"""The hits that a reranker reads, if not more are asked for. Its time grows with their number."""


def check_top_k(top_k: int) -> None:
    """Raise ValidationError for a number of hits that cannot be asked for."""
    check_range("--top-k", top_k, 1, MAX_HITS)


def depth(top_k: int) -> int:
    """Return how many candidates of each kind a search needs: enough for what is good in both, not best in one."""
    return max(50, 3 * top_k)


def reranked_count(top_k: int) -> int:
    """Return how many hits a reranker reads, so that its best ones are the hits of a search."""
    return max(RERANKED, top_k)


def reranked(hits: Sequence[Hit], ranked: Iterable[RankedDocument]) -> tuple[Hit, ...]:
    """Return the hits whose texts a reranker ranked, in its order and with its scores."""
    return tuple(attrs.evolve(hits[one.index], score=one.score, is_truncated=one.is_truncated) for one in ranked)


def hits(candidates: Candidates, mode: SearchMode, top_k: int) -> tuple[Hit, ...]:
    """Return the best hits in their order. Equal scores are in the order of the index."""
    cosines = {passage.key: cosine for passage, cosine in candidates.nearest}
    found = {passage.key: passage for passage, _ in (*candidates.nearest, *candidates.matching)}
    scores = _scores(candidates, mode)
    order = sorted(scores, key=lambda key: (-scores[key], key))
    return tuple(_hit(found[key], scores[key], cosines.get(key)) for key in order[:top_k])


def fused(nearest: Sequence[int], matching: Sequence[int]) -> dict[int, float]:
    """Return the score of each key by reciprocal rank fusion: the weighted sum of ``1 / (offset + rank)``."""
    scores = {key: 1 / (RANK_OFFSET + rank) for rank, key in enumerate(nearest, 1)}
    for rank, key in enumerate(matching, 1):
        scores[key] = scores.get(key, 0.0) + WORDS_WEIGHT / (RANK_OFFSET + rank)
    return scores


def _scores(candidates: Candidates, mode: SearchMode) -> Mapping[int, float]:
    match mode:
        case SearchMode.VECTOR:
            return {passage.key: score for passage, score in candidates.nearest}
        case SearchMode.TEXT:
            return {passage.key: score for passage, score in candidates.matching}
        case SearchMode.HYBRID:
            nearest, matching = candidates.nearest, candidates.matching
            return fused([passage.key for passage, _ in nearest], [passage.key for passage, _ in matching])


def _hit(passage: Passage, score: float, cosine: float | None) -> Hit:
    chunk = passage.chunk
    return Hit(passage.file, chunk.first_line, chunk.last_line, chunk.title, chunk.text, score, cosine)
