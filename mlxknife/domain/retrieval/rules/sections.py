"""Sections: the parts of a document that no chunk crosses."""

from __future__ import annotations

import attrs


@attrs.frozen
class Section:
    """Lines that belong together, such as the text below a heading, or a definition."""

    start: int
    """The position of its first line, from 0."""
    end: int
    """The position after its last line."""
    title: str = ""
    breaks: frozenset[int] = frozenset()
    """The positions of lines before which it is cut first if it is too long; without any, at blank lines."""
