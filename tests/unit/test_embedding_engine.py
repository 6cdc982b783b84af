"""The engine of embedding models, with a model without weights."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.embedding.services.engine import EmbeddingEngine
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.errors import ContextLengthExceeded, EngineError, KnifeError, ValidationError
from tests.fakes.embedding_model import FAILING_TOKEN, NAN_TOKEN, FakeEmbeddingModel, fake_engine


def submit(engine: EmbeddingEngine, number: int, *texts: str) -> int:
    request = EmbeddingRequest(texts)
    return engine.submit(number, engine.tokenize(request, engine.render(request))).prompt_tokens


def run(engine: EmbeddingEngine) -> list[tuple[int, Embedding | KnifeError]]:
    events = list[tuple[int, Embedding | KnifeError]]()
    while not engine.is_idle:
        events += engine.step()
    return events


def test_each_text_gets_a_vector_of_length_one() -> None:
    engine = fake_engine()
    assert submit(engine, 1, "a bb", "ccc") == 7
    found = [event for _, event in run(engine) if isinstance(event, Embedding)]
    assert {one.index: one.tokens for one in found} == {0: 4, 1: 3}
    assert all(math.isclose(math.hypot(*one.vector), 1) for one in found)
    assert not any(one.is_truncated for one in found)


def test_a_long_text_is_truncated_and_says_so() -> None:
    engine = fake_engine()
    submit(engine, 1, "a " * 50)
    ((_, found),) = run(engine)
    assert isinstance(found, Embedding)
    assert (found.tokens, found.is_truncated) == (8, True)


def test_a_long_text_is_refused_where_it_must_not_be_cut() -> None:
    engine = fake_engine()
    request = EmbeddingRequest(("a", "a " * 50), allows_truncation=False)
    with pytest.raises(ContextLengthExceeded, match="maximum context length is 8 tokens") as refused:
        engine.tokenize(request, engine.render(request))
    assert refused.value.param == "input[1]"


def test_token_ids_are_taken_as_they_are() -> None:
    engine = fake_engine()
    request = EmbeddingRequest(("a bb", (1, 1, 2, 2), (5,) * 9), is_query=True)
    engine.submit(1, engine.tokenize(request, engine.render(request)))
    found = {event.index: event for _, event in run(engine) if isinstance(event, Embedding)}
    assert found[0].vector == found[1].vector
    assert (found[2].tokens, found[2].is_truncated) == (8, True)


@pytest.mark.parametrize("tokens", [(), (-1,), (1, 30_522)])
def test_token_ids_outside_the_vocabulary_are_refused(tokens: tuple[int, ...]) -> None:
    engine = fake_engine()
    request = EmbeddingRequest(("a", tokens))
    with pytest.raises(ValidationError) as refused:
        engine.tokenize(request, engine.render(request))
    assert refused.value.param == "input[1]"


def test_texts_of_several_requests_share_batches_of_similar_length() -> None:
    model = FakeEmbeddingModel()
    engine = fake_engine(model)
    for number in range(4):
        submit(engine, number, "a", "a a a", "a a a a a")
    assert len(run(engine)) == 12
    assert model.batches == [8, 4]


def test_a_cancelled_request_gets_nothing() -> None:
    engine = fake_engine()
    submit(engine, 1, "a")
    submit(engine, 2, "b")
    engine.cancel(1)
    assert [number for number, _ in run(engine)] == [2]


@pytest.mark.parametrize("word", ["x" * NAN_TOKEN, "x" * FAILING_TOKEN], ids=["NaN", "failing"])
def test_a_failing_text_ends_its_request_and_no_other(word: str) -> None:
    engine = fake_engine()
    submit(engine, 1, "b", word, "c")
    submit(engine, 2, "a", "bb")
    submit(engine, 3, word)
    events = run(engine)
    assert {number: error.code for number, error in events if isinstance(error, KnifeError)} == {
        1: EngineError.code,
        3: EngineError.code,
    }
    assert {event.index for number, event in events if number == 2 and isinstance(event, Embedding)} == {0, 1}
    assert not any(number == 3 and isinstance(event, Embedding) for number, event in events)


def test_a_batch_is_computed_in_parts_and_can_be_cancelled_between_them() -> None:
    engine = fake_engine(FakeEmbeddingModel(steps=3))
    submit(engine, 1, "a")
    submit(engine, 2, "b")
    assert engine.step() == []
    engine.cancel(1)
    assert engine.step() == []
    assert [number for number, _ in engine.step()] == [2]
    assert engine.is_idle
    submit(engine, 3, "a")
    engine.step()
    engine.cancel(3)
    assert engine.is_idle
    assert engine.step() == []


@given(
    texts=st.lists(st.text("ab ", max_size=12), min_size=1, max_size=40),
    rows=st.integers(1, 9),
    steps=st.integers(1, 3),
    cancelled=st.integers(1, 3),
)
def test_every_text_that_is_not_cancelled_gets_one_vector(
    texts: list[str], rows: int, steps: int, cancelled: int
) -> None:
    engine = fake_engine(FakeEmbeddingModel(batch_rows=rows, steps=steps))
    for number in (1, 2, 3):
        submit(engine, number, *texts)
    engine.step()
    engine.cancel(cancelled)
    found = [(number, event.index) for number, event in run(engine) if isinstance(event, Embedding)]
    assert len(set(found)) == len(found)
    assert {number for number, _ in found} <= {1, 2, 3} - {cancelled}
    whole = max({1, 2, 3} - {cancelled})  # nothing of it was in the first step, if that was not its own
    assert sum(number == whole for number, _ in found) in range(max(0, len(texts) - rows), len(texts) + 1)


def test_a_request_without_texts_and_a_closed_engine_are_errors() -> None:
    engine = fake_engine()
    with pytest.raises(ValidationError):
        engine.render(EmbeddingRequest(()))
    engine.close()
    with pytest.raises(EngineError):
        submit(engine, 1, "a")
