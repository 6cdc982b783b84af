"""The JSON documents of ``rerank``: its lines, and the ``data`` of ``--json``."""

from __future__ import annotations

from msgspec import Struct


class RerankedObject(Struct, frozen=True):
    """A document with its score: a line of ``rerank``."""

    index: int
    """The position of the document among those of the command."""
    score: float
    text: str


class RerankData(Struct, frozen=True):
    """``data`` of ``rerank``."""

    model: str
    revision: str | None
    query: str
    results: tuple[RerankedObject, ...]
