"""Embedding models inside their process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mlxknife.domain.encoders.values import EmbedderConfig
from mlxknife.domain.generation.values.loading import LoadRequest


class EmbeddingBatch(Protocol):
    """Texts that are being embedded together."""

    def advance(self) -> Sequence[Sequence[float]] | None:
        """Compute a part; return the vectors, one for each row, once all is computed. Raises EngineError."""
        ...


class EmbeddingModel(Protocol):
    """A loaded embedding model. ``encode`` may run in any thread, the rest in one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    @property
    def batch_rows(self) -> int:
        """The number of texts that the model embeds together the fastest. Raises nothing."""
        ...

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        """Return the tokens of a text with special tokens, and whether it was truncated. Raises EngineError."""
        ...

    def start(self, rows: Sequence[Sequence[int]]) -> EmbeddingBatch:
        """Begin to embed rows of tokens. A row gets the same vector alone and in a batch, up to 1e-5.

        Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Free the memory. Closing twice is allowed. Raises nothing."""
        ...


class EmbeddingModelLoader(Protocol):
    """Loads embedding models."""

    def documents(self, request: LoadRequest, names: Sequence[str]) -> Mapping[str, object]:
        """Return the values of those of the named JSON files that are there. Raises EngineError, OSError."""
        ...

    def card(self, request: LoadRequest) -> str:
        """Return the header of the model card; empty where there is none. Raises EngineError, OSError."""
        ...

    def load(self, request: LoadRequest, config: EmbedderConfig) -> EmbeddingModel:
        """Load a model whose files are intact. Raises EngineError for files that do not fit the config."""
        ...
