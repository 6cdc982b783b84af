"""The hits of a search: as JSON objects, as a list for a terminal, and as the sources of an answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from mlxknife.cli.render.text import Line, Span, Style, folded
from mlxknife.cli.retrieval_documents import HitObject, SourceObject
from mlxknife.domain.retrieval.values import Hit

_SHOWN_LINES, _SHOWN_CHARACTERS = 6, 400
"""How much of each hit a terminal shows."""
_DIGITS = 6
_INDENT = "   "


def shown_path(path: str) -> str:
    """Return a path relative to the current folder if it is below that, else as it is."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the current folder is gone
        return path
    return path if relative.startswith(os.pardir) else relative


def place(hit: Hit) -> str:
    """Return where a hit is: ``file:first-last``."""
    lines = f"{hit.first_line}" if hit.first_line == hit.last_line else f"{hit.first_line}-{hit.last_line}"
    return f"{shown_path(hit.file)}:{lines}"


def hit_object(hit: Hit) -> HitObject:
    """Return the JSON object of a hit."""
    similarity = None if hit.similarity is None else round(hit.similarity, _DIGITS)
    return HitObject(
        shown_path(hit.file), hit.first_line, hit.last_line, round(hit.score, _DIGITS), similarity, hit.title, hit.text
    )


def hit_lines(number: int, hit: Hit, columns: int | None) -> Iterator[Line]:
    """Yield the lines for a hit: its place and score, its title, and the beginning of its text."""
    if number > 1:
        yield ("",)
    score = f"{hit.score:.4f}" if hit.similarity is None else f"{hit.score:.4f}, similarity {hit.similarity:.2f}"
    yield (f"{number}. ", Span(place(hit), Style.STRONG), Span(f"  {score}", Style.FAINT))
    if hit.title:
        yield from folded((_INDENT, Span(hit.title, Style.FAINT)), columns, len(_INDENT))
    lines = hit.text[:_SHOWN_CHARACTERS].split("\n")
    is_cut = len(hit.text) > _SHOWN_CHARACTERS or len(lines) > _SHOWN_LINES
    for line in [line for line in lines if line.strip()][:_SHOWN_LINES]:
        yield from folded((_INDENT, line.rstrip().expandtabs(4)), columns, len(_INDENT))
    if is_cut:
        yield (f"{_INDENT}...",)


def source_objects(hits: Sequence[Hit]) -> tuple[SourceObject, ...]:
    """Return the JSON objects of the passages that a model got."""
    return tuple(
        SourceObject(shown_path(hit.file), hit.first_line, hit.last_line, round(hit.score, _DIGITS)) for hit in hits
    )


def source_lines(hits: Sequence[Hit]) -> Iterator[Line]:
    """Yield a line for each passage that a model got."""
    for number, hit in enumerate(hits):
        yield (Span(f"{'         ' if number else 'sources: '}{place(hit)}", Style.FAINT),)
