"""Ranking: the fusion of two orders, and questions that are safe for FTS5."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.retrieval.rules import queries, ranking
from mlxknife.domain.retrieval.values import Candidates, Chunk, Passage, SearchMode

KEYS = st.lists(st.integers(1, 40), unique=True, max_size=30)


def passages(keys: list[int]) -> tuple[tuple[Passage, float], ...]:
    return tuple((Passage(key, f"/{key}", Chunk(1, 1, "text")), 1 / rank) for rank, key in enumerate(keys, 1))


@given(KEYS, KEYS, st.integers(1, 20))
def test_hits_are_the_best_of_both_each_once_and_in_order(nearest: list[int], matching: list[int], top_k: int) -> None:
    hits = ranking.hits(Candidates(passages(nearest), passages(matching)), SearchMode.HYBRID, top_k)
    files = [hit.file for hit in hits]
    assert len(files) == len(set(files)) == min(top_k, len({*nearest, *matching}))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all((hit.similarity is None) == (int(hit.file[1:]) not in nearest) for hit in hits)


@given(KEYS)
def test_two_equal_orders_are_kept(keys: list[int]) -> None:
    hits = ranking.hits(Candidates(passages(keys), passages(keys)), SearchMode.HYBRID, 100)
    assert [hit.file for hit in hits] == [f"/{key}" for key in keys]


@given(KEYS, KEYS)
def test_a_chunk_that_rises_in_one_order_does_not_fall(one: list[int], other: list[int]) -> None:
    before, mirrored = ranking.fused(one, other), ranking.fused(other, one)
    for place in range(1, len(one)):
        raised = [*one[: place - 1], one[place], one[place - 1], *one[place + 1 :]]
        assert ranking.fused(raised, other)[one[place]] > before[one[place]]
        assert ranking.fused(other, raised)[one[place]] > mirrored[one[place]]


@given(st.text(max_size=200))
def test_every_question_is_a_valid_expression_of_fts5(question: str) -> None:
    expression = queries.match_expression(question)
    if expression is None:
        return
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(title, text, tokenize='porter unicode61')")
        connection.execute("INSERT INTO words VALUES ('', ?)", (question,))
        found = connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (expression,)).fetchone()[0]
        assert found <= 1
        if question.isascii() and question.replace("_", " ").strip("\0 ").isalnum():
            assert found == 1
    finally:
        connection.close()


def test_operators_and_names_of_columns_are_words() -> None:
    assert queries.match_expression('title:"x" NOT (near) AND *') == '"title" OR "x" OR "near"'
    assert queries.match_expression("What is it?") == '"what" OR "is" OR "it"'
    assert queries.match_expression(" ?! ") is None
