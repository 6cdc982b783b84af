"""Splits Markdown that arrives in pieces into finished blocks and an open rest.

The result does not depend on how the text arrives. The finished blocks and the rest together are the whole text. Every
block has a maximum size, so that the work for a text grows with its length and no faster.
"""

from __future__ import annotations

import re
from enum import Enum

import attrs

CODE_LINES = 20
"""The maximum number of lines in a block of code."""
_MAX_TABLE = 20_000
"""The maximum number of characters in a table."""
_INDENT = 4
"""Spaces that make a line code."""

_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_ITEM_AFTER_TEXT = re.compile(r" {0,3}(?:[-*+]|1[.)])[ \t]+\S")
_INSIDE_ITEM = re.compile(r" {2}|\t")
_QUOTE = re.compile(r" {0,3}>")


class BlockKind(Enum):
    """What the lines of a block are."""

    TEXT = "text"
    """A paragraph, a heading, a table, a quote or a thematic break."""
    ITEM = "item"
    """One item of a list, with everything that is indented below it."""
    INDENTED_CODE = "indented code"
    FENCED_CODE = "fenced code"


_MAX_CHARACTERS = {
    BlockKind.TEXT: 2_000,
    BlockKind.ITEM: 8_000,
    BlockKind.INDENTED_CODE: 4_000,
    BlockKind.FENCED_CODE: 4_000,
}


@attrs.frozen
class Block:
    """A part of the text that is rendered by itself."""

    kind: BlockKind
    text: str
    has_gap: bool = False
    """Whether an empty line separates it from the block before."""
    continues: bool = False
    """Whether it continues the block before, which was too long."""
    fence: str = ""
    """The characters that end a block of fenced code."""
    language: str = ""


class BlockSplitter:
    """Takes one text in pieces."""

    def __init__(self) -> None:
        """Start with an empty text."""
        self._finished: list[Block] = []
        self._kind: BlockKind | None = None
        """The kind of the open block; None before its first line that is not empty."""
        self._lines: list[str] = []
        """The complete lines of the open block."""
        self._size = 0
        """The number of characters in these lines."""
        self._line = ""
        """The line that has not ended."""
        self._is_table = False
        self._is_cut = False
        """Whether the beginning of this line is in a finished block."""
        self._continues = False
        self._has_gap = False
        self._after_empty_line = False
        self._fence = self._language = ""

    @property
    def rest(self) -> Block:
        """The open block, with the line that has not ended."""
        rest = self._block(self._line)
        if self._kind is not None or not self._line.strip():
            return rest
        kind, fence, language = _opening(self._line)
        return attrs.evolve(rest, kind=kind, has_gap=self._begins_after_gap, fence=fence, language=language)

    @property
    def line(self) -> str:
        """The line that has not ended: the end of the rest."""
        return self._line

    def feed(self, text: str) -> list[Block]:
        """Take a piece of the text, and return the blocks that it finishes."""
        first, *others = text.split("\n")
        self._extend_line(first)
        for line in others:
            self._end_line("\n")
            self._extend_line(line)
        return self._taken()

    def finish(self) -> list[Block]:
        """Return the rest as finished blocks."""
        if self._line:
            self._end_line("")
        self._finish_block()
        return self._taken()

    def _taken(self) -> list[Block]:
        finished, self._finished = self._finished, []
        return finished

    def _extend_line(self, text: str) -> None:
        self._line += text
        while self._size + len(self._line) >= (limit := self._limit()):
            if self._lines:
                self._finish_block(is_cut=self._kind is not None)
                continue
            cut = (self._line.rfind(" ", 0, limit) + 1) or limit
            if self._kind is None:
                self._begin_block(self._line[:limit])
            self._finished.append(self._block(self._line[:cut]))
            self._line = self._line[cut:]
            self._is_cut = self._continues = True
            self._has_gap = False

    def _limit(self) -> int:
        if self._is_table:
            return _MAX_TABLE
        return _MAX_CHARACTERS[self._kind or BlockKind.TEXT]

    def _end_line(self, ending: str) -> None:
        line, is_cut = self._line, self._is_cut
        if not is_cut and self._ends_before(line):
            self._finish_block()
        if self._kind is None and line.strip():
            self._begin_block(line)
        self._is_table = self._is_table or (self._kind is BlockKind.TEXT and _is_table_rule(line))
        self._lines.append(line + ending)
        self._size += len(line) + len(ending)
        self._line, self._is_cut = "", False
        self._after_empty_line = not line.strip()
        if not is_cut and self._ends_after(line):
            self._finish_block()
        elif self._is_code and len(self._lines) >= CODE_LINES:
            self._finish_block(is_cut=True)

    @property
    def _is_code(self) -> bool:
        return self._kind in (BlockKind.FENCED_CODE, BlockKind.INDENTED_CODE)

    def _ends_before(self, line: str) -> bool:
        """Whether the open block ends because of the line that follows it."""
        if self._kind in (None, BlockKind.FENCED_CODE) or not line.strip():
            return False
        if self._kind is BlockKind.INDENTED_CODE:
            return not _is_indented(line)
        if self._kind is BlockKind.ITEM:
            return not _INSIDE_ITEM.match(line) and (
                self._after_empty_line or bool(_ITEM.match(line)) or self._is_interrupted(line)
            )
        return self._is_interrupted(line)

    def _is_interrupted(self, line: str) -> bool:
        """Whether a line begins another block although no empty line separates it from the text before."""
        if _UNDERLINE.match(line) and self._lines and self._kind is BlockKind.TEXT:
            return False
        if _QUOTE.match(line):
            return not (self._lines and _QUOTE.match(self._lines[0]))
        return any(pattern.match(line) for pattern in (_HEADING, _FENCE, _RULE, _ITEM_AFTER_TEXT))

    def _ends_after(self, line: str) -> bool:
        """Whether the open block ends with this line, which is its last."""
        if self._kind is BlockKind.FENCED_CODE:
            is_first = len(self._lines) == 1 and not self._continues
            return not is_first and closes_fence(line, self._fence)
        if self._kind is not BlockKind.TEXT:
            return False
        return not line.strip() or any(pattern.match(line) for pattern in (_HEADING, _RULE, _UNDERLINE))

    def _begin_block(self, line: str) -> None:
        self._has_gap = self._begins_after_gap
        self._kind, self._fence, self._language = _opening(line)

    @property
    def _begins_after_gap(self) -> bool:
        return self._after_empty_line and not self._continues

    def _finish_block(self, *, is_cut: bool = False) -> None:
        """Finish the open block with its complete lines; ``is_cut``: the next block continues it."""
        if self._lines:
            self._finished.append(self._block(""))
        self._lines, self._size, self._has_gap = [], 0, False
        self._continues = is_cut
        if not is_cut:
            self._kind, self._fence, self._language, self._is_table = None, "", "", False

    def _block(self, line: str) -> Block:
        kind = self._kind or BlockKind.TEXT
        text = "".join(self._lines) + line
        return Block(kind, text, self._has_gap, self._continues, self._fence, self._language)


def _opening(line: str) -> tuple[BlockKind, str, str]:
    """Return the kind of the block that begins with a line, and the fence and the language of a block of code."""
    fence = _FENCE.match(line)
    if fence is not None:
        return BlockKind.FENCED_CODE, fence["fence"], fence["info"].strip()
    if _is_indented(line):
        return BlockKind.INDENTED_CODE, "", ""
    is_item = _ITEM.match(line) and not _RULE.match(line)
    return BlockKind.ITEM if is_item else BlockKind.TEXT, "", ""


def closes_fence(line: str, fence: str) -> bool:
    """Return whether a line ends a block of fenced code."""
    marker = line.strip()
    return len(marker) >= len(fence) and not marker.strip(fence[0]) and not _is_indented(line)


def _is_table_rule(line: str) -> bool:
    return set(line.strip()) <= set("|:- \t") and "|" in line and "-" in line


def _is_indented(line: str) -> bool:
    return line.expandtabs(_INDENT).startswith(" " * _INDENT)
