"""Chunking: nothing is lost, nothing is twice, and every chunk is small, whatever the text."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.retrieval.rules import chunking
from mlxknife.domain.retrieval.values import Document

_LINES = st.one_of(
    st.sampled_from(
        [
            "",
            "  ",
            "# Title",
            "### Deep",
            "```",
            "~~~",
            "def f(x):",
            "    def g(self):",
            "@wraps",
            "class A:",
            "}",
            "// x",
        ]
    ),
    st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=80),
    st.integers(1, 3000).map(lambda count: "long " * (count // 5) + "x" * (count % 5)),
)
TEXTS = st.lists(_LINES, max_size=60).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(lines))
)
PATHS = st.sampled_from(["/a.txt", "/a.md", "/a.py", "/a.rs", "/LICENSE", "/a.PY"])


@given(PATHS, TEXTS)
def test_every_line_is_in_one_chunk_at_its_place(path: str, text: str) -> None:
    lines = re.split(r"\r\n|\r|\n", text)
    chunks = chunking.chunks(Document(path, b"", text))
    seen = "".join(chunk.text.replace("\n", "") for chunk in chunks)
    assert re.sub(r"\s", "", seen) == re.sub(r"\s", "", text)
    for chunk in chunks:
        assert 1 <= chunk.first_line <= chunk.last_line <= len(lines)
        first, last = chunk.text.split("\n")[0], chunk.text.split("\n")[-1]
        assert first in lines[chunk.first_line - 1]
        assert last in lines[chunk.last_line - 1]


@given(PATHS, TEXTS)
def test_chunks_are_in_order_small_and_not_blank(path: str, text: str) -> None:
    chunks = chunking.chunks(Document(path, b"", text))
    for chunk in chunks:
        assert chunk.text.strip()
        assert len(chunk.text) <= chunking.MAX_CHARACTERS
        assert chunk.text.strip("\n") in chunking.titled_text(chunk)
    for before, after in pairwise(chunks):
        assert before.last_line <= after.first_line


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n"), max_size=300), max_size=8))
def test_pages_do_not_share_a_chunk(pages: list[str]) -> None:
    counts = tuple(page.count("\n") + 1 for page in pages)
    chunks = chunking.chunks(Document("/a.pdf", b"", "\n".join(pages), counts))
    filled = [f"page {number}" for number, page in enumerate(pages, 1) if page.strip()]
    assert list(dict.fromkeys(chunk.title for chunk in chunks)) == filled
