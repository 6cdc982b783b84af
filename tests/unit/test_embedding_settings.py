"""What the files of a model say about its embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.embedding.rules import memory, settings, vectors
from mlxknife.domain.embedding.values import EmbeddingRequest
from mlxknife.domain.encoders.rules import batches
from mlxknife.domain.encoders.values import Pooling
from mlxknife.domain.errors import EngineError, ModelNotRunnable, ValidationError
from mlxknife.domain.models.values.snapshot import Document, SnapshotFacts
from tests.references.families import CONFIGS

BERT: Mapping[str, object] = MappingProxyType({"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4})


def documents(config: Mapping[str, object] | None = None, **files: object) -> dict[str, object]:
    """Return the files of a model; ``_`` in a name is ``.``."""
    return {"config.json": {**BERT, **(config or {})}} | {
        name.replace("__", "/").replace("_json", ".json"): value for name, value in files.items()
    }


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
    found = settings.read(documents(config_sentence_transformers_json={"prompts": prompts}))
    assert settings.prompt(found, request_) == prompt


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
    assert settings.read(documents() | {"1_Pooling/config.json": pooling}).model.pooling is found


def test_a_decoder_that_names_no_pooling_has_that_of_the_last_token() -> None:
    assert settings.read({"config.json": CONFIGS["qwen3"]}).model.pooling is Pooling.LAST


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
        settings.read(documents() | {"1_Pooling/config.json": pooling})


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "most"),
    [
        ({"max_seq_length": 128}, {"model_max_length": 64}, 128),
        ({}, {"model_max_length": 64}, 64),
        ({"max_seq_length": 9999}, {}, 512),
        ({}, {"model_max_length": 10**30}, 512),
    ],
)
def test_the_longest_text(sentence: dict[str, object], tokenizer: dict[str, object], most: int) -> None:
    found = settings.read(documents() | {"sentence_bert_config.json": sentence, "tokenizer_config.json": tokenizer})
    assert found.max_tokens == most


@pytest.mark.parametrize(
    ("config", "card", "allowed", "refused"),
    [
        ({}, "", (64,), (0, 1, 32, 65)),
        ({"matryoshka_dimensions": [64, 32, 16, "x", 10**9]}, "", (16, 32, 64), (-1, 17, 65)),
        ({"is_matryoshka": True}, "", (1, 17, 64), (0, 65)),
        ({}, "tags:\n- sentence-transformers\n- loss:MatryoshkaLoss\n", (17, 64), (65,)),
        ({}, "text: no tag of matryoshka", (64,), (32,)),
    ],
)
def test_shorter_vectors_are_for_models_that_are_trained_for_them(
    config: dict[str, object], card: str, allowed: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    found = settings.read(documents(config), card)
    assert settings.dimensions(found, EmbeddingRequest(("x",))) == 64
    for length in allowed:
        assert settings.dimensions(found, EmbeddingRequest(("x",), dimensions=length)) == length
    for length in refused:
        with pytest.raises(ValidationError, match=f"cannot have {length} dimensions") as caught:
            settings.dimensions(found, EmbeddingRequest(("x",), dimensions=length))
        assert caught.value.param == "dimensions"


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({}, 10**7),
        ({"intermediate_size": 10**6}, 10**10),
        ({"hidden_size": 4 * 10**6}, 10**11),
        ({"num_attention_heads": 2**16, "hidden_size": 2**16}, 10**9),
    ],
)
def test_the_memory_of_a_batch_follows_the_config(change: dict[str, object], least: int) -> None:
    facts = SnapshotFacts(documents={"config.json": Document({**BERT, **change})})
    assert least < memory.needed(facts) < 1000 * least


@given(st.lists(st.integers(1, 3000), max_size=600), st.integers(1, 70))
def test_every_batch_has_the_oldest_text_and_each_text_comes_once(lengths: list[int], most: int) -> None:
    left, seen = list(enumerate(lengths)), list[int]()
    while left:
        chosen = batches.next_batch([length for _, length in left], most)
        assert 0 in chosen
        assert len(set(chosen)) == len(chosen) <= most
        longest = max(left[place][1] for place in chosen)
        assert len(chosen) == 1 or longest * len(chosen) <= batches.MAX_TOKENS
        seen += [left[place][0] for place in chosen]
        left = [one for place, one in enumerate(left) if place not in set(chosen)]
    assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("vector", [(math.nan, 1.0), (math.inf, 0.0), (0.0, 0.0), ()])
def test_a_vector_without_a_direction_is_an_error(vector: tuple[float, ...]) -> None:
    with pytest.raises(EngineError):
        vectors.normalized(vector)
