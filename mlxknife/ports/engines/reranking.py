"""Rerankers inside their process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mlxknife.domain.encoders.values import RerankerConfig
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.reranking.values import EncodedPair, Pair


class RerankingBatch(Protocol):
    """Pairs that are being scored together."""

    def advance(self) -> Sequence[float] | None:
        """Compute a part; return a logit for each pair, once all is computed. Raises EngineError."""
        ...


class RerankingModel(Protocol):
    """A loaded reranker. ``encode`` may run in any thread, the rest in one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    @property
    def batch_rows(self) -> int:
        """The number of pairs that the model scores together the fastest. Raises nothing."""
        ...

    def encode(self, pair: Pair, max_tokens: int) -> EncodedPair:
        """Return the tokens of a pair, cut to ``max_tokens``. Names of special tokens in a text are text.

        Raises EngineError.
        """
        ...

    def start(self, rows: Sequence[EncodedPair]) -> RerankingBatch:
        """Begin to score pairs. A pair gets the same logit alone and in a batch, up to 1e-5. Raises EngineError."""
        ...

    def close(self) -> None:
        """Free the memory. Closing twice is allowed. Raises nothing."""
        ...


class RerankingModelLoader(Protocol):
    """Loads rerankers."""

    def documents(self, request: LoadRequest, names: Sequence[str]) -> Mapping[str, object]:
        """Return the values of those of the named JSON files that are there. Raises EngineError, OSError."""
        ...

    def load(self, request: LoadRequest, config: RerankerConfig) -> RerankingModel:
        """Load a model whose files are intact. Raises EngineError for files that do not fit the config."""
        ...
