"""Retrieval: documents, their chunks, what an index holds, and what a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import attrs

from mlxknife.domain import reprs


class SkipReason(Enum):
    """Why a file is not in an index. The value is a word of the contract."""

    HIDDEN = "hidden"
    """Its name, or that of a folder above it, begins with a dot."""
    IGNORED = "ignored"
    """A .gitignore excludes it."""
    LINK = "link"
    SPECIAL = "special"
    """A pipe, a device or a socket."""
    BINARY = "binary"
    NOT_UTF8 = "not_utf8"
    TOO_LARGE = "too_large"
    PDF = "pdf"
    """A PDF file that cannot be read, or whose reader is not installed."""
    CHANGING = "changing"
    """It changed while it was read."""
    UNREADABLE = "unreadable"


TEMPORARY = (SkipReason.CHANGING, SkipReason.UNREADABLE)
"""The reasons for which the index keeps what it has of a file."""


@attrs.frozen
class FoundFile:
    """A file below a path that is to be indexed."""

    path: str
    size: int


@attrs.frozen
class SkippedFile:
    """A file or a folder that is not indexed."""

    path: str
    reason: SkipReason
    detail: str = ""
    """What the system or the reader of the format says about it."""


@attrs.frozen
class Document:
    """The content of a file."""

    path: str
    digest: bytes
    """The hash of the bytes."""
    text: str = attrs.field(repr=False)
    pages: tuple[int, ...] = ()
    """For a PDF file, the number of lines of each page; the pages follow one another in ``text``."""

    __repr__ = reprs.fields


@attrs.frozen
class Chunk:
    """A part of a document, in whole lines unless a line is very long."""

    first_line: int
    """The number of its first line, from 1."""
    last_line: int
    text: str
    title: str = ""
    """The headings above it, the first line of its definition, or its page."""

    __repr__ = reprs.fields


@attrs.frozen
class IndexedDocument:
    """A document as an index takes it in."""

    path: str
    digest: bytes
    chunks: tuple[Chunk, ...] = attrs.field(repr=False)
    vectors: tuple[Sequence[float], ...] = attrs.field(repr=False)
    """One for each chunk, of length 1."""


@attrs.frozen
class IndexModel:
    """The embedding model of an index."""

    name: str
    revision: str | None
    dimensions: int
    probes: tuple[Sequence[float], ...] = attrs.field(repr=False)
    """The embeddings of a fixed text as a document and as a query. They show whether a model is the same one."""

    @property
    def spec(self) -> str:
        """What names the model: its name, and its revision if it has one."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


@attrs.frozen
class IndexInfo:
    """What an index holds."""

    model: IndexModel
    files: int
    chunks: int
    roots: tuple[str, ...] = ()
    """The paths that were indexed."""

    __repr__ = reprs.fields


@attrs.frozen
class Passage:
    """A chunk of an index."""

    key: int
    """Its number in the index."""
    file: str
    chunk: Chunk

    __repr__ = reprs.fields


@attrs.frozen
class Candidates:
    """What one search of an index found, best first, each with its score."""

    nearest: tuple[tuple[Passage, float], ...] = ()
    """By the cosine of the vectors."""
    matching: tuple[tuple[Passage, float], ...] = ()
    """By the words, as BM25 ranks them; more is better."""


class SearchMode(Enum):
    """How a search ranks chunks."""

    VECTOR = "vector"
    TEXT = "text"
    HYBRID = "hybrid"


@attrs.frozen
class Hit:
    """A chunk that a search found."""

    file: str
    first_line: int
    last_line: int
    title: str
    text: str
    score: float
    """The cosine (vector), BM25 (text), or the sum of reciprocal ranks (hybrid); that of a reranker if there is one."""
    similarity: float | None = None
    """The cosine of question and chunk, where the chunk was found by its vector."""
    is_truncated: bool = False
    """Whether question and chunk are longer than the reranker reads."""

    __repr__ = reprs.fields


@attrs.frozen
class IndexReport:
    """What an update of an index did."""

    info: IndexInfo
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    truncated: int = 0
    """The chunks that are longer than the model reads."""
    skipped: tuple[SkippedFile, ...] = ()

    __repr__ = reprs.fields

    @property
    def skip_counts(self) -> Mapping[SkipReason, int]:
        """The number of skipped files for each reason, in the order of the reasons."""
        reasons = [file.reason for file in self.skipped]
        return {reason: reasons.count(reason) for reason in SkipReason if reason in reasons}
