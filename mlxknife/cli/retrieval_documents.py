"""The JSON contract of ``index`` and ``search``, and of the sources of ``run --context``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class SkippedObject(Struct, frozen=True):
    """A file that the index could not take in, although it is neither hidden nor ignored."""

    file: str
    reason: str


class IndexData(Struct, frozen=True):
    """``data`` of ``index``."""

    index: str
    model: str
    """The embedding model of the index."""
    revision: str | None
    dimensions: int
    files: int
    """The number of files in the index after this update; so too ``chunks``."""
    chunks: int
    added: int
    """The number of files that this update added; so too the next three."""
    updated: int
    unchanged: int
    removed: int
    truncated_chunks: int
    """The chunks whose end the model did not read."""
    skipped: dict[str, int]
    """The number of skipped files and folders for each reason."""
    skipped_files: tuple[SkippedObject, ...]


class HitObject(Struct, frozen=True):
    """A part of a file that a search found: a line of ``search``."""

    file: str
    first_line: int
    last_line: int
    score: float
    """What ranks it: the number that the mode computes, or the score of the reranker."""
    similarity: float | None
    """The cosine of question and part; null where only words found it."""
    title: str
    """The headings above the part, or the first line of its definition."""
    text: str


class SearchData(Struct, frozen=True):
    """``data`` of ``search``."""

    index: str
    query: str
    mode: Literal["vector", "text", "hybrid"]
    reranker: str | None
    """The model whose scores the hits have; null without ``--rerank``."""
    reranker_revision: str | None
    hits: tuple[HitObject, ...]


class SourceObject(Struct, frozen=True):
    """A part of a file that the model got for its answer, with ``run --context``."""

    file: str
    first_line: int
    last_line: int
    score: float
