"""The blocks of a Markdown text are the whole text, and do not depend on the pieces in which it arrives."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.cli.render.markdown_blocks import CODE_LINES, Block, BlockKind, BlockSplitter

_PARTS = (
    *("\n", "\n\n", " ", "  ", "    ", "\t", "word", "# ", "- ", "* ", "1. ", "12) ", "> ", "```", "~~~", "```py", "`"),
    *(
        "---",
        "===",
        "|",
        "|--|",
        "**",
        "_",
        "x" * 2001,
        "word " * 900,
        "\\",
        "\r",
        "é",
        "世界",
        "\U0001f468\u200d\U0001f469",
    ),
)
_TEXTS = st.lists(st.sampled_from(_PARTS), max_size=60).map("".join)


def _blocks(*pieces: str) -> tuple[list[Block], Block]:
    splitter = BlockSplitter()
    finished = [block for piece in pieces for block in splitter.feed(piece)]
    return finished, splitter.rest


def _cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


@given(_TEXTS, st.lists(st.integers(0, 10**6), max_size=30))
def test_the_blocks_do_not_depend_on_the_pieces(text: str, cuts: list[int]) -> None:
    pieces = _cut(text, cuts)
    whole, pieced = BlockSplitter(), BlockSplitter()
    finished = whole.feed(text)
    pieced_finished = list[Block]()
    for piece in pieces:
        pieced_finished += pieced.feed(piece)
        assert text.startswith("".join(block.text for block in pieced_finished) + pieced.rest.text)
    assert pieced_finished == finished
    assert pieced.rest == whole.rest
    assert pieced.finish() == whole.finish()


@given(_TEXTS)
def test_the_blocks_are_the_whole_text(text: str) -> None:
    finished, rest = _blocks(*text)
    assert "".join(block.text for block in finished) + rest.text == text
    splitter = BlockSplitter()
    blocks = [*splitter.feed(text), *splitter.finish()]
    assert "".join(block.text for block in blocks) == text
    assert splitter.finish() == []


@given(_TEXTS)
def test_no_block_is_without_limit(text: str) -> None:
    finished, rest = _blocks(text)
    for block in (*finished, rest):
        is_table = "|" in block.text and "-" in block.text
        assert len(block.text) <= (20_000 if is_table else 8_000)
        if block.kind in (BlockKind.FENCED_CODE, BlockKind.INDENTED_CODE):
            assert block.text.count("\n") <= CODE_LINES
