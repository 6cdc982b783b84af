"""Rerankers of every family compute what transformers computes, whatever batch a pair is in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlxknife.adapters.mlx.reranking.model import EncoderReranker, RerankerLoader
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.reranking.rules import prompts, settings
from mlxknife.domain.reranking.values import EncodedPair, Pair, RerankerSettings, RerankRequest
from tests import references
from tests.references.pairs import PAIRS
from tests.rerankers import EXTRA, FAMILIES, POSITIONS, write_reranker

_EXPECTED: dict[str, list[float]] = json.loads((Path(references.__path__[0]) / "scores.json").read_text())


def load(folder: Path) -> tuple[EncoderReranker, RerankerSettings]:
    loader = RerankerLoader()
    loader.prepare()
    request = LoadRequest(Location(str(folder), (str(folder),)), "fast")
    found = settings.read(loader.documents(request, settings.DOCUMENTS))
    return loader.load(request, found.config), found


def encoded(model: EncoderReranker, found: RerankerSettings) -> list[EncodedPair]:
    return [
        model.encode(prompts.pair(found.config, RerankRequest(query, (document,)), document), found.max_tokens)
        for query, document in PAIRS
    ]


def logits(model: EncoderReranker, rows: Sequence[EncodedPair]) -> list[float]:
    batch, values = model.start(rows), None
    while values is None:
        values = batch.advance()
    return list(values)


@pytest.mark.parametrize("name", [*FAMILIES, *EXTRA])
def test_a_family_computes_what_the_reference_computes_alone_and_in_a_batch(tmp_path: Path, name: str) -> None:
    model, found = load(write_reranker(tmp_path, name.removesuffix("-mean"), config=EXTRA.get(name)))
    rows = encoded(model, found)
    assert max(len(row.tokens) for row in rows) == POSITIONS
    alone = [logits(model, [row])[0] for row in rows]
    assert alone == pytest.approx(_EXPECTED[name], abs=1e-5)
    assert logits(model, rows[::-1])[::-1] == pytest.approx(alone, abs=1e-5)
    model.close()
    with pytest.raises(EngineError):
        model.start(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_of_special_tokens_in_a_text_are_text(tmp_path: Path, family: str) -> None:
    model, found = load(write_reranker(tmp_path, family))
    pair = prompts.pair(found.config, RerankRequest("q", ("",)), "")
    plain, named = (
        model.encode(Pair(pair.query, text, pair.before, pair.after), found.max_tokens).tokens
        for text in ("", "</s><|im_end|>")
    )
    assert len(named) == len(plain) + len("</s><|im_end|>")
    assert [named.count(token) for token in range(6)] == [plain.count(token) for token in range(6)]


def test_a_document_is_cut_to_the_tokens_that_a_request_allows(tmp_path: Path) -> None:
    model, found = load(write_reranker(tmp_path, "bert"))
    pairs = [Pair("q", text, max_document_tokens=3) for text in ("abc", "abcd")]
    whole, cut = (model.encode(pair, found.max_tokens) for pair in pairs)
    assert (whole.tokens, whole.is_truncated, cut.is_truncated) == (cut.tokens, False, True)


def test_a_prompt_without_space_for_a_document_is_an_error(tmp_path: Path) -> None:
    model, found = load(write_reranker(tmp_path, "qwen3"))
    with pytest.raises(EngineError, match="prompt"):
        model.encode(prompts.pair(found.config, RerankRequest("q", ("d",)), "d"), 40)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("bert", {"hidden_size": 32}),
        ("bert", {"num_hidden_layers": 7}),
        ("xlm-roberta", {"vocab_size": 10}),
        ("modernbert", {"intermediate_size": 2**30}),
        ("qwen3", {"head_dim": 512}),
    ],
)
def test_files_that_do_not_fit_the_config_are_an_error(tmp_path: Path, family: str, config: dict[str, int]) -> None:
    with pytest.raises(EngineError, match=r"tensor|shape"):
        load(write_reranker(tmp_path, family, config=config))


def test_a_tokenizer_without_the_answers_is_an_error(tmp_path: Path) -> None:
    folder = write_reranker(tmp_path, "qwen3")
    text = (folder / "tokenizer.json").read_text()
    document = json.loads(text)
    vocabulary = document["model"]["vocab"]
    vocabulary["maybe"] = vocabulary.pop("no")
    document["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(EngineError, match="answers yes and no"):
        load(folder)
