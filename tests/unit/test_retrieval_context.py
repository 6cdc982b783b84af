"""The prompt of a question with passages, and how many fit into a context window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.retrieval.rules import context
from mlxknife.domain.retrieval.values import Hit


def hit(text: str, number: int = 1) -> Hit:
    return Hit("a.md", number, number + 1, "title", text, 1 / number)


def test_passages_stand_before_the_instruction_and_the_question() -> None:
    assert context.prompt("Why?", [hit("\none\n"), hit("two", 5)]) == (
        f"a.md:1-2:\n\none\n\na.md:5-6:\n\ntwo\n\n{context.INSTRUCTION}\n\nWhy?"
    )


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.none() | st.integers(1, 10_000))
def test_the_best_that_fit_into_half_of_the_window_are_kept(lengths: list[int], window: int | None) -> None:
    hits = [hit("x" * length, number) for number, length in enumerate(lengths, 1)]
    kept = context.fitting(hits, window)
    assert list(kept) == hits[: len(kept)]
    assert 1 <= len(kept) <= context.PASSAGES
    size = sum(len(one.text) for one in kept)
    assert len(kept) == 1 or size <= (window or 4096) * 1.5
