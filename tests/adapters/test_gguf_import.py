"""An imported GGUF model computes the same logits in mlx-lm as the numbers in the file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.utils
import numpy as np
import numpy.typing as npt
import pytest
from mlx_lm.utils import load_model
from safetensors import safe_open
from tokenizers import Tokenizer

from mlxknife.adapters.gguf import quantization
from tests.adapters.importing import imported
from tests.gguf_models import SPECIAL, Tiny, config, sentencepiece
from tests.gguf_writer import Stored, gguf, stored

FILES = ["README.md", "config.json", "generation_config.json", "model.safetensors"]
TOKENS = mx.array([[5, 9, 200, 3, 77, 260, 12]])


def logits(folder: Path) -> npt.NDArray[np.float32]:
    """Return the logits of a model, computed in float32."""
    model, _ = load_model(folder)
    model.update(
        mlx.utils.tree_map(
            lambda array: array.astype(mx.float32) if array.dtype in (mx.float16, mx.bfloat16) else array,
            model.parameters(),
        )
    )
    return np.array(model(TOKENS).astype(mx.float32))


def by_hand(folder: Path, tiny: Tiny, **more: Any) -> Path:  # noqa: ANN401 - a config holds anything
    """Write the same model with float weights, as mlx-lm stores it."""
    folder.mkdir()
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        {name: mx.array(values) for name, values in tiny.expected().items()},
        metadata={"format": "mlx"},
    )
    (folder / "config.json").write_text(json.dumps(config(tiny, **more)))
    return folder


def document(folder: Path, name: str = "config.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "tiny",
    [
        Tiny(ggml_type="Q4_0"),
        Tiny(ggml_type="Q4_1"),
        Tiny(ggml_type="Q8_0"),
        Tiny(ggml_type="F16", embedding_type="F16"),
        Tiny(ggml_type="F32", embedding_type="F32"),
        Tiny(ggml_type="BF16", embedding_type="BF16"),
        Tiny(ggml_type="Q4_1", embedding_type="F16"),
        Tiny(is_tied=False),
        Tiny(heads=6, kv_heads=1, head_dim=32),
        Tiny(has_biases=True),
        Tiny(architecture="qwen2"),
        Tiny(architecture="qwen3", head_dim=32),
        Tiny(values={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}),
    ],
    ids=str,
)
def test_an_imported_model_computes_the_logits_of_its_numbers(tmp_path: Path, tiny: Tiny) -> None:
    scaling = {"rope_type": "linear", "factor": 2.0} if tiny.values else None
    made = imported(tmp_path, tiny.file())
    expected = logits(by_hand(tmp_path / "expected", tiny, rope_scaling=scaling))
    # The import rounds only vectors, to 16 bits where the matrices have 16 bits.
    assert np.abs(logits(made) - expected).max() < 5e-3 * np.abs(expected).max()
    assert sorted(os.listdir(made)) == [*FILES, "tokenizer.json", "tokenizer_config.json"]


def test_quantised_weights_are_those_that_mlx_itself_reads_from_the_file(tmp_path: Path) -> None:
    tensors = {
        kind: stored(np.linspace(-3, 5, 4 * 64, dtype=np.float32).reshape(4, 64), kind) for kind in quantization.BITS
    }
    (tmp_path / "a.gguf").write_bytes(gguf({}, {f"{kind}.weight": tensor for kind, tensor in tensors.items()}))
    read = mx.load(str(tmp_path / "a.gguf"))
    assert isinstance(read, dict)
    for kind, tensor in tensors.items():
        raw = np.frombuffer(tensor.data, np.uint8).reshape(4, -1)
        packed = quantization.repack(kind, raw, {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind])
        for ours, part in ((packed.weight, "weight"), (packed.scales, "scales"), (packed.biases, "biases")):
            assert np.array_equal(ours, np.array(read[f"{kind}.{part}"])), (kind, part)


def test_modules_with_other_bits_are_named_in_the_config(tmp_path: Path) -> None:
    made = document(imported(tmp_path, Tiny(is_tied=False).file()))
    eight = {"group_size": 32, "bits": 8}
    assert made["quantization"] == {"group_size": 32, "bits": 4, "model.embed_tokens": eight, "lm_head": eight}
    assert made["torch_dtype"] == "float16"
    assert (made["rms_norm_eps"], made["rope_theta"], made["max_position_embeddings"]) == (1e-5, 5000.0, 128)


def test_float_weights_keep_their_type_and_declare_no_quantisation(tmp_path: Path) -> None:
    made = imported(tmp_path, Tiny(ggml_type="BF16", embedding_type="BF16").file())
    assert "quantization" not in document(made)
    with safe_open(made / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "mlx"}
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118 - no mapping


def test_a_large_tensor_is_converted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = imported(tmp_path, Tiny().file()) / "model.safetensors"
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr("mlxknife.adapters.gguf.conversion._MAX_WEIGHTS", 100)
    assert (imported(tmp_path / "parts", Tiny().file()) / "model.safetensors").read_bytes() == whole.read_bytes()


def llama3_divisors(head: int, theta: float, factor: float) -> npt.NDArray[np.float32]:
    """Compute the divisors as the converter of llama.cpp does it."""
    found = []
    for pair in range(0, head, 2):
        wave = 2 * math.pi * theta ** (pair / head)
        if wave < 8192 / 4:
            found.append(1.0)
        elif wave > 8192:
            found.append(factor)
        else:
            smooth = (8192 / wave - 1) / (4 - 1)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, np.float32)


def test_the_rotary_divisors_of_llama_3_become_its_rope_scaling(tmp_path: Path) -> None:
    tiny = Tiny(head_dim=64, heads=2, kv_heads=1, values={"llama.rope.freq_base": 500_000.0})
    divisors = stored(llama3_divisors(64, 500_000.0, 32.0), "F32")
    made = imported(tmp_path, gguf(tiny.metadata(), tiny.tensors() | {"rope_freqs.weight": divisors}))
    scaling = document(made)["rope_scaling"]
    assert (scaling["rope_type"], scaling["factor"]) == ("llama3", 32.0)
    other = by_hand(tmp_path / "expected", tiny, rope_theta=500_000.0, rope_scaling=scaling)
    assert np.allclose(logits(made), logits(other), rtol=1e-2, atol=5e-2)


def test_the_tokenizer_and_its_special_tokens(tmp_path: Path) -> None:
    made = imported(tmp_path, Tiny().file())
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    encoded = tokenizer.encode("<|im_start|>in the 12€<|im_end|>")
    assert encoded.tokens == ["<|im_start|>", "in", "Ġthe", "Ġ", "1", "2", "â", "Ĥ", "¬", "<|im_end|>"]
    assert tokenizer.decode(encoded.ids, skip_special_tokens=True) == "in the 12€"
    settings = document(made, "tokenizer_config.json")
    assert (settings["bos_token"], settings["eos_token"]) == (SPECIAL[1], SPECIAL[0])
    assert "<|im_start|>" in settings["chat_template"]
    assert document(made, "generation_config.json")["eos_token_id"] == [0, 2]
    assert "license: mit" in (made / "README.md").read_text()


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("gpt-2", "a 12", ["a", "Ġ", "1", "2"]),
        ("llama-bpe", "in the", ["<|im_start|>", "in", "Ġthe"]),
        ("qwen2", "the\n", ["the", "Ċ"]),
    ],
)
def test_each_pre_tokenizer_splits_texts_as_its_model_expects(
    tmp_path: Path, pre: str, text: str, pieces: list[str]
) -> None:
    values = Tiny().metadata() | {"tokenizer.ggml.pre": pre}
    del values["tokenizer.ggml.add_bos_token"]
    made = imported(tmp_path, gguf(values, Tiny().tensors()))
    assert Tokenizer.from_file(str(made / "tokenizer.json")).encode(text).tokens == pieces


@pytest.mark.parametrize(
    ("values", "text", "pieces"),
    [
        ({}, "in the", ["<s>", "▁", "in", "▁the"]),
        ({}, "€", ["<s>", "▁", "<0xE2>", "<0x82>", "<0xAC>"]),
        ({"tokenizer.ggml.add_space_prefix": False}, "in the", ["<s>", "in", "▁the"]),
        ({"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_eos_token": True}, "in", ["▁", "in", "</s>"]),
    ],
)
def test_a_sentencepiece_tokenizer(tmp_path: Path, values: Any, text: str, pieces: list[str]) -> None:  # noqa: ANN401 - values are of any type
    given_values = {key: value for key, value in Tiny().metadata().items() if not key.startswith("tokenizer.ggml")}
    given_values |= sentencepiece(**{"tokenizer.ggml.bos_token_id": 1, **values})
    made = imported(tmp_path, gguf(given_values, Tiny().tensors()))
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    assert tokenizer.encode(text).tokens == pieces
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_other_types_are_dequantised_with_the_gguf_package(tmp_path: Path) -> None:
    quants = pytest.importorskip("gguf.quants", reason="the gguf package dequantises the other types")
    constants = pytest.importorskip("gguf.constants")
    tiny = Tiny(intermediate=256)
    tensors = tiny.tensors()
    kind = constants.GGMLQuantizationType.Q5_0
    values = tiny.weights()["blk.1.ffn_down.weight"]
    raw = quants.quantize(values, kind)
    tensors["blk.1.ffn_down.weight"] = Stored(int(kind), values.shape, raw.tobytes(), values)
    made = imported(tmp_path, gguf(tiny.metadata(), tensors))
    read = mx.load(str(made / "model.safetensors"))
    assert isinstance(read, dict)
    down = np.array(read["model.layers.1.mlp.down_proj.weight"].astype(mx.float32))
    assert np.allclose(down, quants.dequantize(raw, kind), rtol=1e-3)
