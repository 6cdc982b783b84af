"""Tiny models with random weights, as a GGUF file and as mlx-lm stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from tests.gguf_writer import Floats, Stored, Value, gguf, stored

SPECIAL = ("<|end|>", "<|im_start|>", "<|im_end|>")
_MERGES = (("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"))
_MLX_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


def letters() -> list[str]:
    """Return the 256 characters of GPT-2's alphabet for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def byte_level() -> dict[str, Value]:
    """Return the metadata of a tokenizer with a token for every byte and a few merges."""
    tokens = [*SPECIAL, *letters(), *(left + right for left, right in _MERGES)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)),
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in _MERGES],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def sentencepiece(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - values are of any type
    """Return the metadata of a SentencePiece tokenizer, best pieces first."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["▁t", "he", "▁the", "in", "▁", "t", "h", "e", "i", "n"]
    scores = [0.0] * 259 + [-float(number) for number in range(len(pieces))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *bytes_, *pieces],
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * len(pieces)],
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
    } | values


@attrs.frozen
class Tiny:
    """A model to generate: its architecture and its sizes."""

    architecture: str = "llama"
    ggml_type: str = "Q4_1"
    embedding_type: str = "Q8_0"
    is_tied: bool = True
    has_biases: bool = False
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    hidden: int = 64
    intermediate: int = 96
    layers: int = 2
    vocabulary: int = 288
    values: Mapping[str, Value] = attrs.field(factory=dict)

    def metadata(self) -> dict[str, Value]:
        """Return the metadata values."""
        model = {
            "block_count": self.layers,
            "context_length": 128,
            "embedding_length": self.hidden,
            "feed_forward_length": self.intermediate,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads,
            "attention.key_length": self.head_dim,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.freq_base": 5000.0,
            "rope.dimension_count": self.head_dim,
        }
        named: dict[str, Value] = {f"{self.architecture}.{key}": value for key, value in model.items()}
        return {
            "general.architecture": self.architecture,
            "general.license": "mit",
            **named,
            **byte_level(),
            **self.values,
        }

    def weights(self) -> dict[str, Floats]:
        """Return the weights by their GGUF names, with rows in the order of mlx-lm."""
        noise = np.random.default_rng(7)
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocabulary, self.hidden)}
        if not self.is_tied:
            shapes["output.weight"] = (self.vocabulary, self.hidden)
        matrices = {
            "attn_q": (queries, self.hidden),
            "attn_k": (keys, self.hidden),
            "attn_v": (keys, self.hidden),
            "attn_output": (self.hidden, queries),
            "ffn_gate": (self.intermediate, self.hidden),
            "ffn_up": (self.intermediate, self.hidden),
            "ffn_down": (self.hidden, self.intermediate),
        }
        biased = {"llama": set(matrices) if self.has_biases else set(), "qwen2": {"attn_q", "attn_k", "attn_v"}}
        for layer in (f"blk.{number}" for number in range(self.layers)):
            shapes |= {f"{layer}.{name}.weight": shape for name, shape in matrices.items()}
            shapes |= {f"{layer}.{name}.bias": matrices[name][:1] for name in sorted(biased.get(self.architecture, ()))}
            shapes |= {f"{layer}.{name}.weight": (self.hidden,) for name in ("attn_norm", "ffn_norm")}
            if self.architecture == "qwen3":
                shapes |= {f"{layer}.{name}.weight": (self.head_dim,) for name in ("attn_q_norm", "attn_k_norm")}
        shapes["output_norm.weight"] = (self.hidden,)
        return {name: noise.normal(0.2, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}

    def tensors(self) -> dict[str, Stored]:
        """Return the tensors as the file stores them."""
        return {
            name: stored(self._ordered(name, values), self._type(name, values))
            for name, values in self.weights().items()
        }

    def file(self) -> bytes:
        """Return the GGUF file."""
        return gguf(self.metadata(), self.tensors())

    def expected(self) -> dict[str, Floats]:
        """Return the numbers that the file stands for, under the names and in the order of mlx-lm."""
        return {
            mlx_name(name): self._ordered(name, tensor.values, back=True) for name, tensor in self.tensors().items()
        }

    def _type(self, name: str, values: Floats) -> str:
        if values.ndim == 1:
            return "F32"
        return self.embedding_type if name in ("token_embd.weight", "output.weight") else self.ggml_type

    def _ordered(self, name: str, values: Floats, *, back: bool = False) -> Floats:
        """Interleave the rows of every rotary pair, as the converter of llama.cpp does it; ``back`` undoes that."""
        if self.architecture != "llama" or (".attn_q." not in name and ".attn_k." not in name):
            return values
        halves = (
            (-1, self.head_dim // 2, 2, *values.shape[1:]) if back else (-1, 2, self.head_dim // 2, *values.shape[1:])
        )
        return values.reshape(halves).swapaxes(1, 2).reshape(values.shape)


def mlx_name(name: str) -> str:
    """Return the name of a tensor in mlx-lm."""
    place, _, kind = name.rpartition(".")
    if not place.startswith("blk."):
        return {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[
            place
        ] + f".{kind}"
    _, number, part = place.split(".")
    return f"model.layers.{number}.{_MLX_NAMES[part]}.{kind}"


def config(tiny: Tiny, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a config holds anything
    """Return a config of mlx-lm for the model, without quantisation, written by hand."""
    return {
        "model_type": tiny.architecture,
        "hidden_size": tiny.hidden,
        "intermediate_size": tiny.intermediate,
        "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads,
        "num_key_value_heads": tiny.kv_heads,
        "head_dim": tiny.head_dim,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0,
        "max_position_embeddings": 128,
        "vocab_size": tiny.vocabulary,
        "tie_word_embeddings": tiny.is_tied,
        "attention_bias": tiny.has_biases,
        "mlp_bias": tiny.has_biases,
    } | more
