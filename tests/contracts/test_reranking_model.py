"""The contract of ``RerankingModel``: the fake and the encoders keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mlxknife.domain.errors import EngineError
from mlxknife.domain.reranking.values import EncodedPair, Pair
from mlxknife.ports.engines.reranking import RerankingModel
from tests.adapters.test_rerankers import load
from tests.fakes.reranking_model import FakeRerankingModel
from tests.rerankers import write_reranker

_MAX_TOKENS = 12


def _real(folder: Path) -> RerankingModel:
    return load(write_reranker(folder, "bert"))[0]


@pytest.fixture(params=[lambda _: FakeRerankingModel(), _real], ids=["fake", "real"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RerankingModel]:
    make: Callable[[Path], RerankingModel] = request.param
    found = make(tmp_path)
    yield found
    found.close()


def run(model: RerankingModel, rows: Sequence[EncodedPair]) -> list[float]:
    batch, values = model.start(rows), None
    while values is None:
        values = batch.advance()
    return list(values)


def test_a_pair_has_tokens_and_is_cut_to_the_limit(model: RerankingModel) -> None:
    short, long = (model.encode(Pair("q", text), _MAX_TOKENS) for text in ("d", "d " * 40))
    assert len(short.tokens) < len(long.tokens) == _MAX_TOKENS
    assert (short.is_truncated, long.is_truncated) == (False, True)
    assert short.types is None or len(short.types) == len(short.tokens)
    assert model.encode(Pair("q", "d d d", max_document_tokens=1), _MAX_TOKENS).is_truncated


def test_each_pair_gets_a_logit_that_does_not_depend_on_the_batch(model: RerankingModel) -> None:
    rows = [model.encode(Pair("a b", text), _MAX_TOKENS) for text in ("a", "", "a b", "c " * 9)]
    together = run(model, rows)
    assert [run(model, [row])[0] for row in rows] == pytest.approx(together, abs=1e-5)
    assert len(set(together)) > 2
    assert model.batch_rows > 0
    assert model.notes


def test_a_closed_model_computes_nothing(model: RerankingModel) -> None:
    rows = [model.encode(Pair("a", "b"), _MAX_TOKENS)]
    model.close()
    model.close()
    with pytest.raises(EngineError):
        model.start(rows)
