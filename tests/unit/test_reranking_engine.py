"""The engine of rerankers, with a model without weights, and the queue that it shares with embedding models."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.errors import EngineError, KnifeError, ModelNotRunnable, ValidationError
from mlxknife.domain.reranking.rules import prompts, ranking, settings
from mlxknife.domain.reranking.services.engine import RerankingEngine
from mlxknife.domain.reranking.values import RankedDocument, RerankRequest, Score
from tests.fakes.reranking_model import FAILING_WORD, NAN_WORD, SETTINGS, FakeRerankingModel

BERT: dict[str, object] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "LABEL_0"},
}
QWEN3: dict[str, object] = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}


def submit(engine: RerankingEngine, number: int, query: str, *documents: str, most: int | None = None) -> int:
    request = RerankRequest(query, documents, max_document_tokens=most)
    return engine.submit(number, engine.tokenize(request, engine.render(request))).prompt_tokens


def run(engine: RerankingEngine) -> list[tuple[int, Score | KnifeError]]:
    events = list[tuple[int, Score | KnifeError]]()
    while not engine.is_idle:
        events += engine.step()
    return events


def scores(events: list[tuple[int, Score | KnifeError]], number: int = 1) -> dict[int, float]:
    return {event.index: event.score for request, event in events if request == number and isinstance(event, Score)}


def test_each_document_gets_a_score_from_0_to_1() -> None:
    engine = RerankingEngine(FakeRerankingModel(), SETTINGS)
    assert submit(engine, 1, "a b", "a b", "b", "c") == 13
    found = scores(run(engine))
    assert found == pytest.approx({0: 1 / (1 + math.exp(-2)), 1: 1 / (1 + math.exp(-1)), 2: 0.5})


def test_a_document_is_cut_to_what_the_model_reads_or_the_request_allows() -> None:
    engine = RerankingEngine(FakeRerankingModel(), SETTINGS)
    submit(engine, 1, "a", "a " * 30, "b a", "b", most=1)
    found = {event.index: event for _, event in run(engine) if isinstance(event, Score)}
    assert [found[index].is_truncated for index in range(3)] == [True, True, False]
    assert found[1].score == 0.5


def test_the_requests_take_turns() -> None:
    model = FakeRerankingModel()
    engine = RerankingEngine(model, SETTINGS)
    submit(engine, 1, "a", *["a"] * 400)
    submit(engine, 2, "b", "b")
    order = [request for request, _ in run(engine)]
    assert order.index(2) < 8
    assert len(order) == 401
    assert set(model.batches) <= {4, 1}


def test_a_cancelled_request_gets_nothing_and_the_others_go_on() -> None:
    engine = RerankingEngine(FakeRerankingModel(), SETTINGS)
    submit(engine, 1, "a", "a")
    submit(engine, 2, "b", "b")
    assert engine.step() == []
    engine.cancel(1)
    assert [request for request, _ in run(engine)] == [2]
    submit(engine, 3, "a", "a")
    engine.step()
    engine.cancel(3)
    assert engine.is_idle


@pytest.mark.parametrize("word", [NAN_WORD, FAILING_WORD])
def test_a_document_that_fails_ends_its_own_request(word: str) -> None:
    engine = RerankingEngine(FakeRerankingModel(), SETTINGS)
    submit(engine, 1, "a", "a", word)
    submit(engine, 2, "b", "b")
    events = run(engine)
    assert [type(event) for request, event in events if request == 1][-1] is EngineError
    assert scores(events, 2).keys() == {0}


def test_an_empty_query_no_documents_and_a_closed_engine_are_errors() -> None:
    engine = RerankingEngine(FakeRerankingModel(), SETTINGS)
    for request, name in ((RerankRequest("", ("a",)), "query"), (RerankRequest("a", ()), "documents")):
        with pytest.raises(ValidationError) as refused:
            engine.render(request)
        assert refused.value.param == name
    engine.close()
    with pytest.raises(EngineError):
        submit(engine, 1, "a", "a")


@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=40), min_size=1, max_size=6), st.integers(1, 9))
def test_each_document_gets_one_score_whatever_waits_beside_it(requests: list[list[int]], rows: int) -> None:
    engine = RerankingEngine(FakeRerankingModel(batch_rows=rows), SETTINGS)
    for number, lengths in enumerate(requests):
        submit(engine, number, "a", *("a " * length for length in lengths))
    events = run(engine)
    for number, lengths in enumerate(requests):
        assert scores(events, number) == {
            index: ranking.score(1.0 if length else 0.0) for index, length in enumerate(lengths)
        }


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_score_is_from_0_to_1_and_grows_with_the_logit(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= ranking.score(low) <= ranking.score(high) <= 1


def test_nan_is_no_score() -> None:
    with pytest.raises(EngineError):
        ranking.score(math.nan)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1), st.integers(1, 9))
def test_the_best_documents_come_first_and_equal_ones_keep_their_order(values: list[float], top: int) -> None:
    texts = [str(number) for number in range(len(values))]
    given_ = [Score(index, value, 1) for index, value in enumerate(values)]
    found = ranking.ranked(reversed(given_), texts, top)
    order = sorted(range(len(values)), key=lambda index: -values[index])
    assert found == tuple(RankedDocument(index, values[index], texts[index]) for index in order[:top])


def test_a_cross_encoder_reads_a_pair_and_a_decoder_one_prompt() -> None:
    pair = settings.read({"config.json": BERT}).config
    assert prompts.pair(pair, RerankRequest("q", ("d",), "task"), "d").before is None
    decoder = settings.read({"config.json": QWEN3}).config
    text = prompts.pair(decoder, RerankRequest("q", ("d",), "Find it"), "d")
    assert text.query == "<Instruct>: Find it\n<Query>: q\n<Document>: "
    assert text.after.endswith("</think>\n\n")
    assert "web search" in prompts.pair(decoder, RerankRequest("q", ("d",)), "d").query


def test_the_longest_pair_is_what_the_files_say() -> None:
    documents = {"config.json": BERT, "tokenizer_config.json": {"model_max_length": 128}}
    assert settings.read(documents).max_tokens == 128
    assert settings.read({"config.json": BERT}).max_tokens == 512


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "architecture"),
        ({**BERT, "model_type": "deberta-v2"}, "architecture 'deberta-v2'"),
        ({**QWEN3, "model_type": "qwen2"}, "architecture 'qwen2'"),
        ({**BERT, "id2label": {"0": "no", "1": "yes"}}, "2"),
        ({**BERT, "id2label": {}}, "0"),
        ({**BERT, "architectures": ["BertModel"]}, "class"),
        ({**QWEN3, "architectures": ["Qwen3ForSequenceClassification"]}, "class"),
        ({**BERT, "auto_map": {"AutoModelForSequenceClassification": "m.M"}}, "code"),
        ({**BERT, "model_type": "modernbert", "classifier_pooling": "max"}, "Pooling"),
        ({**BERT, "model_type": "modernbert", "classifier_activation": "softplus"}, "Activation"),
        ({**BERT, "hidden_size": -4}, "hidden_size"),
        ({**QWEN3, "is_causal": False}, "causal"),
    ],
)
def test_another_model_is_refused_with_a_reason(config: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelNotRunnable, match=reason):
        settings.read({"config.json": config})
