"""The encoder in numpy: the same vector alone and in a batch, and errors for files that do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mlxknife.adapters.mlx.embedding.model import EncoderLoader, EncoderModel
from mlxknife.domain.embedding.rules.settings import DOCUMENTS
from mlxknife.domain.embedding.values import Pooling
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.values.snapshot import Location
from tests.embedders import HIDDEN, POSITIONS, write_embedder

ROWS = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=POSITIONS).map(tuple), min_size=1, max_size=9)


def load(folder: Path) -> EncoderModel:
    return EncoderLoader().load(LoadRequest(Location(str(folder), ()), "fast"), DOCUMENTS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    return load(write_embedder(tmp_path_factory.mktemp("embedder")))


@settings(max_examples=60)
@given(rows=ROWS, pooling=st.sampled_from(Pooling), data=st.data())
def test_a_row_gets_the_same_vector_alone_and_in_any_batch(
    model: EncoderModel, rows: Sequence[Sequence[int]], pooling: Pooling, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    batch = model.embed([rows[place] for place in order], pooling)
    for place, vector in zip(order, batch, strict=True):
        np.testing.assert_allclose(vector, model.embed([rows[place]], pooling)[0], atol=1e-5)


def test_a_text_is_truncated_and_not_padded(model: EncoderModel) -> None:
    assert model.encode("a b", 8) == ((2, 4, 5, 3), False)
    tokens, is_truncated = model.encode("a " * 50, 8)
    assert (len(tokens), tokens[0], tokens[-1], is_truncated) == (8, 2, 3, True)
    assert model.encode("", 8) == ((2, 3), False)
    assert model.encode("\0\U0001f600", 8)[0][0] == 2
    assert model.encode("a" + " " * 2_000_000, 8)[1]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_the_activation_is_right(tmp_path: Path, activation: str) -> None:
    from mlxknife.adapters.mlx.embedding.bert import _ACTIVATIONS  # noqa: PLC0415 - the table is private

    exact = {
        "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
        "gelu_new": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        "relu": lambda x: max(x, 0.0),
    }
    values = np.linspace(-8, 8, 401, dtype=np.float32)
    np.testing.assert_allclose(
        _ACTIVATIONS[activation](values), [exact[activation](float(x)) for x in values], atol=2e-6
    )
    loaded = load(write_embedder(tmp_path, config={"hidden_act": activation}))
    assert len(loaded.embed([(2, 3)], Pooling.MEAN)[0]) == HIDDEN


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_read(tmp_path: Path, dtype: type[np.floating]) -> None:
    folder = write_embedder(tmp_path)
    before = load(folder).embed([(2, 4, 3)], Pooling.MEAN)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({f"bert.{name}": tensor.astype(dtype) for name, tensor in tensors.items()}, folder / "model.safetensors")
    np.testing.assert_allclose(load(folder).embed([(2, 4, 3)], Pooling.MEAN), before, atol=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 24},
        {"num_hidden_layers": 3},
        {"num_attention_heads": 5},
        {"vocab_size": "x"},
        {"layer_norm_eps": "x"},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_the_weights_is_an_error(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(EngineError):
        load(write_embedder(tmp_path, config=change))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_damaged_file_is_an_error(tmp_path: Path, name: str) -> None:
    folder = write_embedder(tmp_path)
    (folder / name).write_bytes(b"\xff" * 40)
    with pytest.raises(EngineError):
        load(folder)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="pickle"):
        load(folder)


def test_tokens_outside_the_model_and_a_closed_model_are_errors(model: EncoderModel, tmp_path: Path) -> None:
    for row in ((), (10_000,), (-1,), (1,) * (POSITIONS + 1)):
        with pytest.raises(EngineError):
            model.embed([row], Pooling.MEAN)
    closed = load(write_embedder(tmp_path))
    closed.close()
    with pytest.raises(EngineError, match="closed"):
        closed.embed([(1,)], Pooling.CLS)


def test_the_documents_are_those_that_are_there(model: EncoderModel) -> None:
    assert set(model.documents) == set(DOCUMENTS)
    assert json.loads(json.dumps(model.documents["sentence_bert_config.json"])) == {"max_seq_length": POSITIONS - 8}
