"""Decoders that embed: Qwen3 and Gemma 3, with rotary positions, gated layers and fewer heads for keys."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from mlxknife.adapters.mlx.encoders.layers import Dense, Rotations, attention, in_parts, split_heads
from mlxknife.adapters.mlx.encoders.operations import Array, Operations
from mlxknife.adapters.mlx.encoders.token_batch import TokenBatch
from mlxknife.adapters.mlx.encoders.weights import Table, Weights
from mlxknife.domain.encoders.values import EncoderConfig, Family, Rotation

_PREFIXES = ("", "model.")


@attrs.frozen(eq=False)
class _Norm:
    operations: Operations
    weight: Array
    epsilon: float

    @classmethod
    def of(cls, operations: Operations, weights: Weights, name: str, config: EncoderConfig, size: int) -> _Norm:
        """Take the tensor; Gemma stores the difference from 1. Raises EngineError."""
        weight = weights.tensor(f"{name}.weight", size)
        if config.family is Family.GEMMA3:
            weight = weight + np.float32(1)
        return cls(operations, operations.array(weight), config.epsilon)

    def __call__(self, values: Array) -> Array:
        return self.operations.rms_norm(values, self.weight, self.epsilon)


@attrs.frozen(eq=False)
class _Attention:
    operations: Operations
    config: EncoderConfig
    rotation: Rotation
    rotations: Rotations
    query: Dense
    key: Dense
    value: Dense
    output: Dense
    query_norm: _Norm
    key_norm: _Norm

    def __call__(self, hidden: Array, batch: TokenBatch) -> Array:
        config, turns = self.config, self.rotations.of(self.rotation, batch.length)
        queries = self.query_norm(split_heads(self.query(hidden), config.heads))
        keys = self.key_norm(split_heads(self.key(hidden), config.kv_heads))
        queries, keys = (self.operations.rotate(values, *turns) for values in (queries, keys))
        values = split_heads(self.value(hidden), config.kv_heads)
        return self.output(attention(self.operations, (queries, keys, values), batch, config, self.rotation.window))


@attrs.frozen(eq=False)
class _FeedForward:
    gate: Dense
    up: Dense
    down: Dense
    activation: Callable[[Array], Array]

    def __call__(self, hidden: Array) -> Array:
        return self.down(self.activation(self.gate(hidden)) * self.up(hidden))


@attrs.frozen(eq=False)
class _Layer:
    operations: Operations
    attention: _Attention
    feed_forward: _FeedForward
    norm: _Norm
    inner_norm: _Norm
    after_attention: _Norm | None
    """Gemma normalises the results of both parts, too."""
    after_feed_forward: _Norm | None

    def __call__(self, hidden: Array, batch: TokenBatch) -> Array:
        """See ``Layer``."""
        attended = self.attention(self.norm(hidden), batch)
        hidden = hidden + (attended if self.after_attention is None else self.after_attention(attended))
        changed = in_parts(self.operations, self.feed_forward, self.inner_norm(hidden))
        return hidden + (changed if self.after_feed_forward is None else self.after_feed_forward(changed))


class Decoder:
    """See ``Network``."""

    def __init__(self, operations: Operations, weights: Weights, config: EncoderConfig) -> None:
        """Take the tensors. Raises EngineError for one that is missing or has a wrong shape."""
        self._operations = operations
        prefix = weights.prefix("embed_tokens", *_PREFIXES)
        self._words = Table(weights, f"{prefix}embed_tokens.weight", config.vocabulary, config.width)
        self._factor = np.float32(config.width**0.5 if config.family is Family.GEMMA3 else 1)
        self._norm = _Norm.of(operations, weights, f"{prefix}norm", config, config.width)
        rotations = Rotations(operations, config.head_size)
        build = _Builder(operations, weights, config, rotations)
        self.layers = tuple(build.layer(f"{prefix}layers.{number}.", number) for number in range(config.layers))

    def embed(self, batch: TokenBatch) -> Array:
        """See ``Network.embed``."""
        return self._operations.array(self._words[batch.tokens] * self._factor)

    def finish(self, hidden: Array) -> Array:
        """See ``Network.finish``."""
        return self._norm(hidden)


@attrs.frozen(eq=False)
class _Builder:
    operations: Operations
    weights: Weights
    config: EncoderConfig
    rotations: Rotations

    def layer(self, root: str, number: int) -> _Layer:
        is_gemma = self.config.family is Family.GEMMA3
        before = "pre_feedforward_layernorm" if is_gemma else "post_attention_layernorm"
        return _Layer(
            self.operations,
            self._attention(f"{root}self_attn.", self.config.rotations[number]),
            self._feed_forward(f"{root}mlp."),
            self._norm(f"{root}input_layernorm", self.config.width),
            self._norm(f"{root}{before}", self.config.width),
            self._norm(f"{root}post_attention_layernorm", self.config.width) if is_gemma else None,
            self._norm(f"{root}post_feedforward_layernorm", self.config.width) if is_gemma else None,
        )

    def _attention(self, root: str, rotation: Rotation) -> _Attention:
        config = self.config
        wide, narrow = config.heads * config.head_size, config.kv_heads * config.head_size
        return _Attention(
            self.operations,
            config,
            rotation,
            self.rotations,
            self._dense(f"{root}q_proj", wide, config.width),
            self._dense(f"{root}k_proj", narrow, config.width),
            self._dense(f"{root}v_proj", narrow, config.width),
            self._dense(f"{root}o_proj", config.width, wide),
            self._norm(f"{root}q_norm", config.head_size),
            self._norm(f"{root}k_norm", config.head_size),
        )

    def _feed_forward(self, root: str) -> _FeedForward:
        width, inner = self.config.width, self.config.inner
        return _FeedForward(
            self._dense(f"{root}gate_proj", inner, width),
            self._dense(f"{root}up_proj", inner, width),
            self._dense(f"{root}down_proj", width, inner),
            self.operations.activation(self.config.activation),
        )

    def _dense(self, name: str, outputs: int, inputs: int) -> Dense:
        return Dense.of(self.operations, self.weights, name, (outputs, inputs))

    def _norm(self, name: str, size: int) -> _Norm:
        return _Norm.of(self.operations, self.weights, name, self.config, size)
