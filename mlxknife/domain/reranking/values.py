"""Reranking: what is asked for, and the scores."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.encoders.values import RerankerConfig
from mlxknife.domain.engines.values import Accepted, Request


@attrs.frozen
class Score:
    """How well one document answers the query."""

    index: int
    """Which document of the request."""
    score: float
    """From 0 to 1; scores of different models cannot be compared."""
    tokens: int
    """The tokens that the model read, those of the query included."""
    is_truncated: bool = False
    """Whether query and document were longer than the model reads."""

    @property
    def ends_answer(self) -> bool:
        """Whether the answer has ended: a score is a whole one."""
        return True


ScoreEvent: TypeAlias = Accepted | Score


@attrs.frozen
class RerankRequest(Request[ScoreEvent]):
    """Documents to score."""

    query: str
    documents: tuple[str, ...]
    instruction: str | None = None
    """What makes a document right, for models that are trained with instructions."""
    max_document_tokens: int | None = None
    """The tokens of a document that count; the rest is cut."""

    @property
    def answer_count(self) -> int:
        """The number of documents."""
        return len(self.documents)


@attrs.frozen
class RankedDocument:
    """A document and its score."""

    index: int
    """Which document of those that were ranked."""
    score: float
    text: str
    is_truncated: bool = False

    __repr__ = reprs.fields


@attrs.frozen
class Pair:
    """A query and a document as a model reads them."""

    query: str
    document: str
    before: str | None = None
    """The text before both, with control tokens, if the model reads them as one text; None if as a pair of texts."""
    after: str = ""
    """The text after both, likewise."""
    max_document_tokens: int | None = None


@attrs.frozen
class EncodedPair:
    """A query and a document as tokens."""

    tokens: tuple[int, ...]
    types: tuple[int, ...] | None = None
    """The type of each token, where they are not all 0."""
    is_truncated: bool = False


@attrs.frozen
class RerankerSettings:
    """What the files of a model say about its scores."""

    config: RerankerConfig
    max_tokens: int
    """The longest pair, special tokens included."""
