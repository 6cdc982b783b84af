"""The encoders: the same vector alone and in a batch, in numpy and in MLX, and errors for files that do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mlxknife.adapters.mlx.embedding.model import EncoderLoader, EncoderModel
from mlxknife.adapters.mlx.encoders.encoder import Encoder
from mlxknife.adapters.mlx.encoders.mlx_operations import MlxOperations
from mlxknife.adapters.mlx.encoders.numpy_operations import NumpyOperations
from mlxknife.adapters.mlx.encoders.operations import Operations
from mlxknife.adapters.mlx.encoders.quantization import Packed
from mlxknife.adapters.mlx.encoders.weights import Weights
from mlxknife.domain.encoders.rules import encoder_configs
from mlxknife.domain.encoders.values import EmbedderConfig, EncoderConfig, Pooling
from mlxknife.domain.errors import EngineError, KnifeError, UnsupportedCapability
from mlxknife.domain.generation.values.loading import Device, LoadRequest
from mlxknife.domain.models.values.snapshot import Location
from tests.embedders import HIDDEN, POSITIONS, load_model, vectors_of, write_embedder
from tests.references import families

ROWS = st.lists(
    st.lists(st.integers(0, families.VOCABULARY - 1), min_size=1, max_size=families.POSITIONS).map(tuple),
    min_size=1,
    max_size=9,
)


def encoder(folder: Path, operations: Operations, config: EncoderConfig | None = None) -> Encoder:
    found = config or encoder_configs.read(json.loads((folder / "config.json").read_text()))
    return Encoder(Weights(str(folder)), found, operations)


@pytest.fixture(scope="module", params=families.FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write_family(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    return load_model(write_embedder(tmp_path_factory.mktemp("embedder")))


@settings(max_examples=40)
@given(rows=ROWS, data=st.data())
def test_a_row_gets_the_same_vector_alone_and_in_any_batch(
    folder: Path, rows: Sequence[Sequence[int]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    loaded = encoder(folder, NumpyOperations())
    for pooling in Pooling:
        batch = loaded.embed([rows[place] for place in order], pooling)
        for place, vector in zip(order, batch, strict=True):
            assert distance(vector, loaded.embed([rows[place]], pooling)[0]) < 1e-5


@settings(max_examples=10)
@given(rows=ROWS)
def test_mlx_computes_what_numpy_computes(folder: Path, rows: Sequence[Sequence[int]]) -> None:
    for pooling in Pooling:
        numpys, mlxs = (encoder(folder, of).embed(rows, pooling) for of in (NumpyOperations(), MlxOperations()))
        for one, other in zip(numpys, mlxs, strict=True):
            assert distance(one, other) < 1e-5


@settings(max_examples=30)
@given(rows=ROWS, data=st.data())
def test_a_model_gives_each_row_its_own_vector(
    model: EncoderModel, rows: Sequence[Sequence[int]], data: st.DataObject
) -> None:
    rows = [[token % 50 for token in row[:POSITIONS]] for row in rows]
    order = data.draw(st.permutations(range(len(rows))))
    for place, vector in zip(order, vectors_of(model, [rows[place] for place in order]), strict=True):
        assert distance(vector, vectors_of(model, [rows[place]])[0]) < 1e-5


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference of two vectors, each with the length 1."""
    units = (np.asarray(vector, np.float64) / np.linalg.norm(vector) for vector in (one, other))
    return float(np.abs(next(units) - next(units)).max())


def test_long_texts_are_computed_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [list(range(90)), list(range(20, 70)), [1, 2, 3]]
    expected = encoder(folder, NumpyOperations()).embed(rows, Pooling.MEAN)
    monkeypatch.setattr("mlxknife.adapters.mlx.encoders.token_batch._MAX_SCORES", 3 * families.HEADS * 90 * 7)
    monkeypatch.setattr("mlxknife.adapters.mlx.encoders.layers._MAX_TOKENS", 40)
    for operations in (NumpyOperations(), MlxOperations()):
        for one, other in zip(expected, encoder(folder, operations).embed(rows, Pooling.MEAN), strict=True):
            assert distance(one, other) < 1e-5


def test_a_text_is_truncated_and_not_padded(model: EncoderModel) -> None:
    assert model.encode("a b", 8) == ((2, 4, 5, 3), False)
    tokens, is_truncated = model.encode("a " * 50, 8)
    assert (len(tokens), tokens[0], tokens[-1], is_truncated) == (8, 2, 3, True)
    assert model.encode("", 8) == ((2, 3), False)
    assert model.encode("\0\U0001f600", 8)[0][0] == 2
    assert model.encode("a" + " " * 2_000_000, 8)[1]


_EXACT = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_new": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("activation", _EXACT)
def test_the_activation_is_right(activation: str) -> None:
    values = np.linspace(-8, 8, 401, dtype=np.float32)
    exact = [_EXACT[activation](float(x)) for x in values]
    np.testing.assert_allclose(NumpyOperations.activation(activation)(values), exact, atol=2e-6)
    np.testing.assert_allclose(np.array(MlxOperations.activation(activation)(mx.array(values))), exact, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_and_prefixes_are_read(tmp_path: Path, dtype: type[np.floating]) -> None:
    folder = write_embedder(tmp_path)
    before = vectors_of(load_model(folder), [(2, 4, 3)])
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({f"bert.{name}": tensor.astype(dtype) for name, tensor in tensors.items()}, folder / "model.safetensors")
    np.testing.assert_allclose(vectors_of(load_model(folder), [(2, 4, 3)]), before, atol=0.02)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [32, 64])
def test_a_quantised_matrix_becomes_what_mlx_makes_of_it(bits: int, group: int) -> None:
    matrix = mx.array(np.random.default_rng(bits).normal(size=(5, 128)).astype(np.float32))
    codes, scales, biases = mx.quantize(matrix, group, bits)
    expected = np.array(mx.dequantize(codes, scales, biases, group, bits))
    packed = Packed.of("x", (5, 128), *(np.array(part) for part in (codes, scales, biases)))
    assert packed.bits == bits
    np.testing.assert_allclose(packed.floats(), expected, atol=1e-6)
    np.testing.assert_allclose(packed.floats(np.array([4, 0])), expected[[4, 0]], atol=1e-6)


def test_a_quantised_model_is_read(tmp_path: Path) -> None:
    config = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 32, "num_hidden_layers": 1, "vocab_size": 9}
    folder = families.write_family(tmp_path, "qwen3", config=config)
    chance = np.random.default_rng(0)
    plain, packed = dict[str, mx.array](), dict[str, mx.array]()
    for name, shape in _QUANTISED.items():
        matrix = mx.array(chance.normal(0, 0.3, shape).astype(np.float32))
        if len(shape) == 1:
            plain[name] = packed[name] = matrix
            continue
        parts = dict(zip(("weight", "scales", "biases"), mx.quantize(matrix, 64, 4), strict=True))
        packed |= {f"{name.removesuffix('weight')}{part}": value for part, value in parts.items()}
        plain[name] = mx.dequantize(parts["weight"], parts["scales"], parts["biases"], 64, 4)
    found = []
    for tensors in (plain, packed):
        mx.save_safetensors(str(folder / "model.safetensors"), tensors)
        found.append(encoder(folder, NumpyOperations()).embed([(1, 2, 3)], Pooling.LAST)[0])
    assert distance(*found) < 1e-5


_QUANTISED = {
    "model.embed_tokens.weight": (9, 64),
    "model.norm.weight": (64,),
    **{f"model.layers.0.self_attn.{part}_proj.weight": (128 if part == "q" else 64, 64) for part in "qkv"},
    "model.layers.0.self_attn.o_proj.weight": (64, 128),
    **{f"model.layers.0.self_attn.{part}_norm.weight": (32,) for part in "qk"},
    **{f"model.layers.0.mlp.{part}_proj.weight": (64, 64) for part in ("gate", "up", "down")},
    **{f"model.layers.0.{part}_layernorm.weight": (64,) for part in ("input", "post_attention")},
}


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 24},
        {"hidden_size": 10**8},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"num_attention_heads": 5},
        {"vocab_size": "x"},
        {"vocab_size": 10**12},
        {"layer_norm_eps": "x"},
        {"layer_norm_eps": float("nan")},
        {"max_position_embeddings": True},
        {"model_type": "unknown"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_an_error(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(KnifeError) as caught:
        load_model(write_embedder(tmp_path, config=change))
    assert caught.value.code in ("model_not_runnable", "generation_failed")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_damaged_file_is_an_error(tmp_path: Path, name: str) -> None:
    folder = write_embedder(tmp_path)
    (folder / name).write_bytes(b"\xff" * 40)
    with pytest.raises(EngineError):
        load_model(folder)


def test_a_linear_layer_of_another_shape_is_an_error(tmp_path: Path) -> None:
    folder = families.write_family(tmp_path, "gemma3")
    save_file({"linear.weight": np.zeros((3, 3), np.float32)}, folder / "3_Dense" / "model.safetensors")
    with pytest.raises(EngineError, match=r"linear\.weight"):
        load_model(folder)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="pickle"):
        load_model(folder)


def test_weights_with_nan_make_vectors_with_nan(tmp_path: Path) -> None:
    folder = write_embedder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][:] = np.inf
    save_file(tensors, folder / "model.safetensors")
    assert not np.isfinite(vectors_of(load_model(folder), [(2, 4, 3)])).any()


def test_tokens_outside_the_model_and_a_closed_model_are_errors(model: EncoderModel, tmp_path: Path) -> None:
    for row in ((), (10_000,), (-1,), (1,) * (POSITIONS + 1)):
        with pytest.raises(EngineError):
            vectors_of(model, [row])
    closed = load_model(write_embedder(tmp_path))
    closed.close()
    with pytest.raises(EngineError, match="closed"):
        vectors_of(closed, [(1,)])


def test_a_gpu_is_refused_where_there_is_none(tmp_path: Path) -> None:
    if mx.default_device().type == mx.DeviceType.gpu:
        pytest.skip("this machine has a GPU")
    request = LoadRequest(Location(str(write_embedder(tmp_path)), ()), "fast", device=Device.GPU)
    config = encoder_configs.read({"model_type": "bert"})

    with pytest.raises(UnsupportedCapability, match="no GPU"):
        EncoderLoader().load(request, EmbedderConfig(config, Pooling.MEAN))


def test_the_card_is_read_up_to_the_end_of_its_header(tmp_path: Path) -> None:
    request = LoadRequest(Location(str(tmp_path), ()), "fast")
    assert EncoderLoader.card(request) == ""
    (tmp_path / "README.md").write_text("---\ntags:\n- loss:MatryoshkaLoss\n---\n- matryoshka")
    assert EncoderLoader.card(request) == "---\ntags:\n- loss:MatryoshkaLoss"


def test_the_width_is_that_of_the_config(model: EncoderModel) -> None:
    assert len(vectors_of(model, [(2, 3)])[0]) == HIDDEN
