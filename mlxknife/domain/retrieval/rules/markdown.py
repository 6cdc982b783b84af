"""Markdown: a section for each heading, with the headings above it as its title."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlxknife.domain.retrieval.rules.sections import Section

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_MAX_TITLE = 200


def sections(lines: Sequence[str]) -> Iterator[Section]:
    """Yield a section for the text before the first heading, and one for each heading. Code has no headings."""
    start, title = 0, ""
    above = dict[int, str]()
    for place, level, text in _headings(lines):
        if place > start:
            yield Section(start, place, title)
        above = {upper: name for upper, name in above.items() if upper < level} | {level: text}
        start, title = place, " > ".join(name for name in above.values() if name)[-_MAX_TITLE:]
    yield Section(start, len(lines), title)


def _headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield position, level and text of each heading that begins with ``#``."""
    fence = ""
    for place, line in enumerate(lines):
        if len(line) > _MAX_TITLE * 2:
            continue
        marker = _FENCE.match(line)
        if marker is not None and (not fence or _closes(line, fence)):
            fence = "" if fence else marker[1]
            continue
        found = None if fence else _HEADING.match(line)
        if found is not None:
            yield place, len(found[1]), _without_closing(found[2] or "")


def _without_closing(text: str) -> str:
    """Return the text of a heading without the ``#`` that may stand at its end, after a space."""
    text = text.strip()
    kept = text.rstrip("#")
    return kept.rstrip() if kept != kept.rstrip() or not kept else text


def _closes(line: str, fence: str) -> bool:
    text = line.strip()
    return len(text) >= len(fence) and not text.strip(fence[0])
