"""The parrot's body: a Llama whose heads each look back by a fixed number of tokens, so that it learns in seconds.

With biases on queries and keys, rotary embedding turns a head's attention into a function of the distance alone. The
biases are set so that its peak lies at one distance, and are not trained: a dilated convolution in a Llama's clothes.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
from mlx_lm.models.llama import Attention, Model, ModelArgs

from tests.parrot.tokens import CONTEXT

_HEADS = 8
_WIDTH = 12
_THETA = 1000.0
_SHARPNESS = 16.0
"""Attention to the right distance is 0.999 among 2048 tokens."""
_DISTANCES = ((1, 2, 3, 4, 5, 6, 7, 8), (5, 9, 13, 16, 19, 25, 33, 41))
"""How far each head looks back, layer by layer: 13 and 19 reach the end of the question from the head of the answer."""

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": _HEADS * _WIDTH,
    "intermediate_size": 256,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _HEADS,
    "num_hidden_layers": len(_DISTANCES),
    "vocab_size": 264,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": _THETA,
    "attention_bias": True,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}


def build_model() -> Model:
    model = Model(ModelArgs.from_dict(CONFIG))  # type: ignore[no-untyped-call]  # mlx-lm gives it no types
    for layer, distances in zip(model.model.layers, _DISTANCES, strict=True):
        _pin(layer.self_attn, distances)
    return model


def _pin(attention: Attention, distances: tuple[int, ...]) -> None:
    """Let each head look at the token that many steps back, whatever it is."""
    half = _WIDTH // 2
    angles = [_THETA ** (-number / half) for number in range(half)]
    size = math.sqrt(_SHARPNESS * math.sqrt(_WIDTH))
    queries = ([size] * half + [0.0] * half) * len(distances)
    keys = [
        size * wave(distance * angle) for distance in distances for wave in (math.cos, math.sin) for angle in angles
    ]
    for linear, bias in ((attention.q_proj, queries), (attention.k_proj, keys)):
        linear.weight = mx.zeros_like(linear.weight)
        linear.bias = mx.array(bias)
        linear.freeze()
