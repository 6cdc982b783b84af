"""Embedding models inside their process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mlxknife.domain.embedding.values import Pooling
from mlxknife.domain.generation.values.loading import LoadRequest


class EmbeddingModel(Protocol):
    """A loaded embedding model. ``encode`` may run in any thread, the rest in one."""

    @property
    def documents(self) -> Mapping[str, object]:
        """The JSON files of the model, by name; a file that is not there is missing. Raises nothing."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        """Return the tokens of a text with special tokens, and whether it was truncated. Raises EngineError."""
        ...

    def embed(self, rows: Sequence[Sequence[int]], pooling: Pooling) -> Sequence[Sequence[float]]:
        """Return one vector for each row of tokens. A row gets the same vector alone and in a batch, up to 1e-5.

        Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Free the memory. Closing twice is allowed. Raises nothing."""
        ...


class EmbeddingModelLoader(Protocol):
    """Loads embedding models."""

    def load(self, request: LoadRequest, documents: Sequence[str]) -> EmbeddingModel:
        """Load a model whose files are intact, and those of the named JSON files that are there.

        Raises EngineError for files that the encoder cannot use.
        """
        ...
