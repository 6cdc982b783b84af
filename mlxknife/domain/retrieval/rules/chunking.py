"""Chunking: a document becomes chunks that an embedding model reads whole, cut where its structure allows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import attrs

from mlxknife.domain.retrieval.rules import code, markdown
from mlxknife.domain.retrieval.rules.sections import Section
from mlxknife.domain.retrieval.values import Chunk, Document, Hit

MAX_CHARACTERS = 800
"""About 200 tokens: small embedding models read 256."""
_MARKDOWN = (".md", ".markdown", ".mdx", ".rmd", ".qmd")
_LINE_END = re.compile(r"\r\n|\r|\n")


@attrs.frozen
class _Line:
    """A line, or a part of one that is too long."""

    number: int
    text: str


def chunks(document: Document) -> tuple[Chunk, ...]:
    """Return the chunks of a document, in order. Every line that is not blank is in one of them, and only once."""
    lines = _LINE_END.split(document.text)
    return tuple(chunk for section in _sections(document, lines) for chunk in _packed(section, lines))


def titled_text(part: Chunk | Hit) -> str:
    """Return the text that a model reads for a chunk or a hit: with its title, unless it begins with it."""
    text = part.text.strip("\n")
    return f"{part.title}\n{text}" if part.title and not text.lstrip("# \t").startswith(part.title) else text


def _sections(document: Document, lines: Sequence[str]) -> Iterable[Section]:
    if document.pages:
        return _pages(document.pages)
    name = document.path.lower()
    if name.endswith(_MARKDOWN):
        return markdown.sections(lines)
    return code.sections(lines) if code.is_code(name) else [Section(0, len(lines))]


def _pages(counts: Sequence[int]) -> Iterator[Section]:
    start = 0
    for number, count in enumerate(counts, 1):
        yield Section(start, start + count, f"page {number}")
        start += count


def _packed(section: Section, lines: Sequence[str]) -> Iterator[Chunk]:
    """Yield the chunks of a section: as many of its parts as fit, one after the other."""
    pending, size = list[_Line](), 0
    for part in _parts(section, lines):
        length = sum(len(line.text) + 1 for line in part)
        if pending and size + length > MAX_CHARACTERS:
            yield from _chunk(pending, section.title)
            pending, size = [], 0
        for line in part:
            if pending and size + len(line.text) + 1 > MAX_CHARACTERS:
                yield from _chunk(pending, section.title)
                pending, size = [], 0
            pending.append(line)
            size += len(line.text) + 1
    yield from _chunk(pending, section.title)


def _parts(section: Section, lines: Sequence[str]) -> Iterator[list[_Line]]:
    """Yield the parts of a section that stay together if they fit: paragraphs, or inner definitions."""
    part = list[_Line]()
    for place in range(section.start, section.end):
        text = lines[place]
        is_break = place in section.breaks or (not section.breaks and not text.strip())
        if is_break and part:
            yield part
            part = []
        part += [_Line(place + 1, piece) for piece in _pieces(text)]
    if part:
        yield part


def _pieces(line: str) -> Iterator[str]:
    """Yield a line in pieces of at most the size of a chunk, cut after a space if there is one."""
    limit, start = MAX_CHARACTERS - 1, 0
    while len(line) - start > limit:
        cut = line.rfind(" ", start + limit // 2, start + limit) + 1 or start + limit
        yield line[start:cut]
        start = cut
    yield line[start:]


def _chunk(lines: Sequence[_Line], title: str) -> Iterator[Chunk]:
    filled = [place for place, line in enumerate(lines) if line.text.strip()]
    if not filled:
        return
    kept = lines[filled[0] : filled[-1] + 1]
    yield Chunk(kept[0].number, kept[-1].number, _joined(kept), title)


def _joined(lines: Sequence[_Line]) -> str:
    """Return the text of lines; pieces of one line are joined without a line end."""
    text = lines[0].text
    for before, line in pairwise(lines):
        text += line.text if line.number == before.number else f"\n{line.text}"
    return text
