"""The JSON documents of ``embed``: its lines, and the ``data`` of ``--json``."""

from __future__ import annotations

from msgspec import Struct


class EmbeddingMetadata(Struct, frozen=True):
    """Where an embedding comes from."""

    model: str
    revision: str | None
    """The commit of the model."""
    dimensions: int
    normalized: bool
    """Whether the length of the vector is 1."""
    index: int
    """The position of the text among those of the command."""


class EmbeddingObject(Struct, frozen=True):
    """The embedding of one text: a line of ``embed``."""

    text: str
    embedding: tuple[float, ...]
    metadata: EmbeddingMetadata


class EmbedData(Struct, frozen=True):
    """``data`` of ``embed``."""

    embeddings: tuple[EmbeddingObject, ...]
