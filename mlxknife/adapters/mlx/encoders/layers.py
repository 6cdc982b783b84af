"""What the layers of all encoders are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import numpy as np

from mlxknife.adapters.mlx.encoders.operations import Array, Operations
from mlxknife.adapters.mlx.encoders.token_batch import TokenBatch
from mlxknife.adapters.mlx.encoders.weights import Weights
from mlxknife.domain.encoders.values import EncoderConfig, Rotation

_MAX_TOKENS = 4096
"""The tokens that a feed-forward layer computes at once."""


class Layer(Protocol):
    """A layer of an encoder."""

    def __call__(self, hidden: Array, batch: TokenBatch) -> Array:
        """Return the vectors of all tokens after the layer."""
        ...


class Network(Protocol):
    """The network of an encoder, from tokens to a vector for each token."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in their order."""
        ...

    def embed(self, batch: TokenBatch) -> Array:
        """Return the vectors of all tokens before the first layer."""
        ...

    def finish(self, hidden: Array) -> Array:
        """Return the vectors of all tokens after the last layer."""
        ...


@attrs.frozen(eq=False)
class Dense:
    """A linear layer."""

    operations: Operations
    weight: Array
    bias: Array | None

    @classmethod
    def of(cls, operations: Operations, weights: Weights, name: str, shape: tuple[int, int]) -> Dense:
        """Take the tensors of a layer with (outputs, inputs); a bias need not be there. Raises EngineError."""
        weight, bias = weights.tensor(f"{name}.weight", *shape), weights.optional(f"{name}.bias", shape[0])
        return cls(operations, operations.array(weight), None if bias is None else operations.array(bias))

    def __call__(self, values: Array) -> Array:
        """Return the outputs."""
        return self.operations.dense(values, self.weight, self.bias)


@attrs.frozen(eq=False)
class LayerNorm:
    """A normalisation to the mean 0 and the variance 1."""

    operations: Operations
    weight: Array
    bias: Array | None
    epsilon: float

    @classmethod
    def of(cls, operations: Operations, weights: Weights, name: str, config: EncoderConfig) -> LayerNorm:
        """Take the tensors; a bias need not be there. Raises EngineError."""
        weight, bias = weights.tensor(f"{name}.weight", config.width), weights.optional(f"{name}.bias", config.width)
        bias = None if bias is None else operations.array(bias)
        return cls(operations, operations.array(weight), bias, config.epsilon)

    def __call__(self, values: Array) -> Array:
        """Return the values, normalised."""
        return self.operations.layer_norm(values, self.weight, self.bias, self.epsilon)


class Rotations:
    """The cosines and sines of rotary position embeddings, as many as were needed so far."""

    def __init__(self, operations: Operations, size: int) -> None:
        """Take the length of a head's vectors."""
        self._operations = operations
        self._size = size
        self._tables: dict[float, tuple[int, Array, Array]] = {}

    def of(self, rotation: Rotation, length: int) -> tuple[Array, Array]:
        """Return the cosines and sines of the first positions."""
        count, cosines, sines = self._tables.get(rotation.theta, (0, None, None))
        if count < length:
            count = max(64, length, 2 * count)
            powers = np.arange(0, self._size, 2, dtype=np.float32) / np.float32(self._size)
            angles = np.arange(count, dtype=np.float32)[:, None] / np.float32(rotation.theta) ** powers
            cosines, sines = self._operations.array(np.cos(angles)), self._operations.array(np.sin(angles))
            self._tables[rotation.theta] = count, cosines, sines
        return cosines[:length], sines[:length]


def attention(
    operations: Operations,
    parts: tuple[Array, Array, Array],
    batch: TokenBatch,
    config: EncoderConfig,
    window: int | None,
) -> Array:
    """Return what each token attends to.

    ``parts`` are queries, keys and values of the shape (rows, heads, tokens, size); the result is
    (rows, tokens, width).
    """
    queries, keys, values = parts
    found = []
    for asking, seen in batch.parts(config.heads, window, is_causal=config.is_causal):
        mask = batch.mask(operations, asking, seen, window, is_causal=config.is_causal)
        attended = operations.attend(queries[:, :, asking], keys[:, :, seen], values[:, :, seen], mask, config.scale)
        found.append(attended)
    joined = found[0] if len(found) == 1 else operations.concatenate(found, 2)
    count, length = len(batch.lengths), batch.length
    return joined.transpose(0, 2, 1, 3).reshape(count, length, -1)


def split_heads(values: Array, heads: int) -> Array:
    """Return vectors of the shape (rows, tokens, width) as (rows, heads, tokens, size)."""
    count, length, width = values.shape
    return values.reshape(count, length, heads, width // heads).transpose(0, 2, 1, 3)


def in_parts(operations: Operations, function: Callable[[Array], Array], hidden: Array) -> Array:
    """Return a function of the vectors of all tokens, computed for a bounded number of tokens at once."""
    length = hidden.shape[1]
    if hidden.shape[0] * length <= _MAX_TOKENS:
        return function(hidden)
    step = max(1, _MAX_TOKENS // hidden.shape[0])
    return operations.concatenate(
        [operations.computed(function(hidden[:, start : start + step])) for start in range(0, length, step)], 1
    )
