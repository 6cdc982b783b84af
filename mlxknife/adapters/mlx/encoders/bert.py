"""BERT and RoBERTa: learned positions, a norm after each part of a layer."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from mlxknife.adapters.mlx.encoders.layers import Dense, LayerNorm, attention, in_parts, split_heads
from mlxknife.adapters.mlx.encoders.operations import Array, Operations
from mlxknife.adapters.mlx.encoders.token_batch import TokenBatch
from mlxknife.adapters.mlx.encoders.weights import Floats, Table, Weights
from mlxknife.domain.encoders.values import EncoderConfig, Family

_PREFIXES = ("", "bert.", "roberta.", "model.")


@attrs.frozen(eq=False)
class _Layer:
    operations: Operations
    config: EncoderConfig
    query: Dense
    key: Dense
    value: Dense
    output: Dense
    norm: LayerNorm
    inner: Dense
    outer: Dense
    last_norm: LayerNorm
    activation: Callable[[Array], Array]

    def __call__(self, hidden: Array, batch: TokenBatch) -> Array:
        """See ``Layer``."""
        heads = self.config.heads
        parts = (
            split_heads(self.query(hidden), heads),
            split_heads(self.key(hidden), heads),
            split_heads(self.value(hidden), heads),
        )
        attended = self.output(attention(self.operations, parts, batch, self.config, None))
        attended += hidden
        hidden = self.norm(attended)
        changed = in_parts(self.operations, self._feed_forward, hidden)
        changed += hidden
        return self.last_norm(changed)

    def _feed_forward(self, hidden: Array) -> Array:
        return self.outer(self.activation(self.inner(hidden)))


class Bert:
    """See ``Network``."""

    def __init__(self, operations: Operations, weights: Weights, config: EncoderConfig) -> None:
        """Take the tensors. Raises EngineError for one that is missing or has a wrong shape."""
        self._operations = operations
        self._config = config
        prefix = weights.prefix("embeddings.word_embeddings", *_PREFIXES)
        root, width = f"{prefix}embeddings.", config.width
        self._words = Table(weights, f"{root}word_embeddings.weight", config.vocabulary, width)
        self._positions: Floats = weights.tensor(f"{root}position_embeddings.weight", config.positions, width)
        self._types: Floats = weights.tensor(f"{root}token_type_embeddings.weight", config.types, width)
        self._norm = LayerNorm.of(operations, weights, f"{root}LayerNorm", config)
        self.layers = tuple(
            _layer(operations, weights, f"{prefix}encoder.layer.{number}.", config) for number in range(config.layers)
        )

    def embed(self, batch: TokenBatch) -> Array:
        """See ``Network.embed``."""
        types = 0 if batch.types is None else np.minimum(batch.types, self._config.types - 1)
        hidden = self._words[batch.tokens]
        hidden += self._positions[self._position_numbers(batch)]
        hidden += self._types[types]
        return self._norm(self._operations.array(hidden))

    @staticmethod
    def finish(hidden: Array) -> Array:
        """See ``Network.finish``."""
        return hidden

    def _position_numbers(self, batch: TokenBatch) -> NDArray[np.int64]:
        """Return the position of each token; RoBERTa counts from behind its padding token, and does not count that."""
        if self._config.family is not Family.ROBERTA:
            return np.arange(batch.length)
        counted = batch.tokens != self._config.padding
        return np.where(counted, np.cumsum(counted, 1), 0) + self._config.padding


def _layer(operations: Operations, weights: Weights, root: str, config: EncoderConfig) -> _Layer:
    width, inner = config.width, config.inner

    def dense(name: str, outputs: int, inputs: int) -> Dense:
        return Dense.of(operations, weights, f"{root}{name}", (outputs, inputs))

    def norm(name: str) -> LayerNorm:
        return LayerNorm.of(operations, weights, f"{root}{name}", config)

    return _Layer(
        operations,
        config,
        dense("attention.self.query", width, width),
        dense("attention.self.key", width, width),
        dense("attention.self.value", width, width),
        dense("attention.output.dense", width, width),
        norm("attention.output.LayerNorm"),
        dense("intermediate.dense", inner, width),
        dense("output.dense", width, inner),
        norm("output.LayerNorm"),
        operations.activation(config.activation),
    )
