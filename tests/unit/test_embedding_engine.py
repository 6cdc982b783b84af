"""The engine of embedding models, with a model without weights."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.embedding.rules import batches, settings, vectors
from mlxknife.domain.embedding.services.engine import EmbeddingEngine
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest, EmbeddingSettings, Pooling
from mlxknife.domain.errors import ContextLengthExceeded, EngineError, KnifeError, ModelNotRunnable, ValidationError
from tests.fakes.embedding_model import FAILING_TOKEN, NAN_TOKEN, FakeEmbeddingModel


def submit(engine: EmbeddingEngine, number: int, *texts: str) -> int:
    request = EmbeddingRequest(texts)
    return engine.submit(number, engine.tokenize(request, engine.render(request))).prompt_tokens


def run(engine: EmbeddingEngine) -> list[tuple[int, Embedding | KnifeError]]:
    events = list[tuple[int, Embedding | KnifeError]]()
    while not engine.is_idle:
        events += engine.step()
    return events


def test_each_text_gets_a_vector_of_length_one() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    assert submit(engine, 1, "a bb", "ccc") == 7
    found = [event for _, event in run(engine) if isinstance(event, Embedding)]
    assert {one.index: one.tokens for one in found} == {0: 4, 1: 3}
    assert all(math.isclose(math.hypot(*one.vector), 1) for one in found)
    assert not any(one.is_truncated for one in found)


def test_a_long_text_is_truncated_and_says_so() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    submit(engine, 1, "a " * 50)
    ((_, found),) = run(engine)
    assert isinstance(found, Embedding)
    assert (found.tokens, found.is_truncated) == (8, True)


def test_a_long_text_is_refused_where_it_must_not_be_cut() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    request = EmbeddingRequest(("a", "a " * 50), allows_truncation=False)
    with pytest.raises(ContextLengthExceeded, match="maximum context length is 8 tokens") as refused:
        engine.tokenize(request, engine.render(request))
    assert refused.value.param == "input[1]"


def test_token_ids_are_taken_as_they_are() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    request = EmbeddingRequest(("a bb", (1, 1, 2, 2), (5,) * 9), is_query=True)
    engine.submit(1, engine.tokenize(request, engine.render(request)))
    found = {event.index: event for _, event in run(engine) if isinstance(event, Embedding)}
    assert found[0].vector == found[1].vector
    assert (found[2].tokens, found[2].is_truncated) == (8, True)


@pytest.mark.parametrize("tokens", [(), (-1,), (1, 99)])
def test_token_ids_outside_the_vocabulary_are_refused(tokens: tuple[int, ...]) -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel({"config.json": {"model_type": "bert", "vocab_size": 99}}))
    request = EmbeddingRequest(("a", tokens))
    with pytest.raises(ValidationError) as refused:
        engine.tokenize(request, engine.render(request))
    assert refused.value.param == "input[1]"


def test_texts_of_several_requests_share_batches_of_similar_length() -> None:
    model = FakeEmbeddingModel()
    engine = EmbeddingEngine(model)
    for number in range(4):
        submit(engine, number, "a", "a a a", "a a a a a")
    assert len(run(engine)) == 12
    assert model.batches == [8, 4]


def test_a_cancelled_request_gets_nothing() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    submit(engine, 1, "a")
    submit(engine, 2, "b")
    engine.cancel(1)
    assert [number for number, _ in run(engine)] == [2]


@pytest.mark.parametrize("word", ["x" * NAN_TOKEN, "x" * FAILING_TOKEN], ids=["NaN", "failing"])
def test_a_failing_text_ends_its_request(word: str) -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    submit(engine, 1, word)
    ((number, error),) = run(engine)
    assert (number, type(error)) == (1, EngineError)
    submit(engine, 2, "a")
    assert [type(event) for _, event in run(engine)] == [Embedding]


def test_a_request_without_texts_and_a_closed_engine_are_errors() -> None:
    engine = EmbeddingEngine(FakeEmbeddingModel())
    with pytest.raises(ValidationError):
        engine.render(EmbeddingRequest(()))
    engine.close()
    with pytest.raises(EngineError):
        submit(engine, 1, "a")


@pytest.mark.parametrize(
    ("prompts", "request_", "prompt"),
    [
        ({"query": "q: ", "passage": "p: "}, EmbeddingRequest(("x",), is_query=True), "q: "),
        ({"query": "q: ", "passage": "p: "}, EmbeddingRequest(("x",)), "p: "),
        ({"query": "q: "}, EmbeddingRequest(("x",)), ""),
        ({}, EmbeddingRequest(("x",), is_query=True, instruction="Find it"), "Instruct: Find it\nQuery:"),
    ],
)
def test_the_prompt_of_a_request(prompts: dict[str, str], request_: EmbeddingRequest, prompt: str) -> None:
    assert settings.prompt(EmbeddingSettings(prompts=prompts), request_) == prompt


@pytest.mark.parametrize(
    ("pooling", "found"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, Pooling.CLS),
        ({"pooling_mode_lasttoken": True}, Pooling.LAST),
        ({"pooling_mode": "mean"}, Pooling.MEAN),
        ({}, Pooling.MEAN),
    ],
)
def test_the_pooling_of_a_model(pooling: dict[str, object], found: Pooling) -> None:
    documents = {"config.json": {"model_type": "bert", "max_position_embeddings": 64}, "1_Pooling/config.json": pooling}
    assert settings.read(documents) == EmbeddingSettings(found, 64)


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode_mean_tokens": True, "include_prompt": False},
    ],
)
def test_another_pooling_is_refused(pooling: dict[str, object]) -> None:
    with pytest.raises(ModelNotRunnable, match="Pooling"):
        settings.read({"config.json": {"model_type": "bert"}, "1_Pooling/config.json": pooling})


@given(st.lists(st.integers(1, 50), max_size=600))
def test_every_batch_has_the_oldest_text_and_each_text_comes_once(lengths: list[int]) -> None:
    left, seen = list(enumerate(lengths)), list[int]()
    while left:
        chosen = batches.next_batch([length for _, length in left])
        assert 0 in chosen
        assert len(set(chosen)) == len(chosen) <= batches.BATCH
        seen += [left[place][0] for place in chosen]
        left = [one for place, one in enumerate(left) if place not in set(chosen)]
    assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("vector", [(math.nan, 1.0), (math.inf, 0.0), (0.0, 0.0), ()])
def test_a_vector_without_a_direction_is_an_error(vector: tuple[float, ...]) -> None:
    with pytest.raises(EngineError):
        vectors.normalized(vector)
