"""ModernBERT: rotary positions, gated layers, and a window of attention in most layers."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mlxknife.adapters.mlx.encoders.layers import Dense, LayerNorm, Rotations, attention, in_parts
from mlxknife.adapters.mlx.encoders.operations import Array, Operations
from mlxknife.adapters.mlx.encoders.token_batch import TokenBatch
from mlxknife.adapters.mlx.encoders.weights import Table, Weights
from mlxknife.domain.encoders.values import EncoderConfig, Rotation

_PREFIXES = ("", "model.")


@attrs.frozen(eq=False)
class _Layer:
    operations: Operations
    config: EncoderConfig
    rotation: Rotation
    rotations: Rotations
    norm: LayerNorm | None
    """The first layer has none: the embeddings are normalised already."""
    parts: Dense
    """Makes queries, keys and values."""
    output: Dense
    inner_norm: LayerNorm
    inner: Dense
    """Makes the values and their gates."""
    outer: Dense
    activation: Callable[[Array], Array]

    def __call__(self, hidden: Array, batch: TokenBatch) -> Array:
        """See ``Layer``."""
        config, (count, length, _) = self.config, hidden.shape
        made = self.parts(hidden if self.norm is None else self.norm(hidden))
        made = made.reshape(count, length, 3, config.heads, config.head_size).transpose(2, 0, 3, 1, 4)
        turns = self.rotations.of(self.rotation, length)
        queries, keys = (self.operations.rotate(made[place], *turns) for place in (0, 1))
        attended = attention(self.operations, (queries, keys, made[2]), batch, config, self.rotation.window)
        hidden = hidden + self.output(attended)
        changed = in_parts(self.operations, self._feed_forward, hidden)
        changed += hidden
        return changed

    def _feed_forward(self, hidden: Array) -> Array:
        made = self.inner(self.inner_norm(hidden))
        width = self.config.inner
        return self.outer(self.activation(made[..., :width]) * made[..., width:])


class ModernBert:
    """See ``Network``."""

    def __init__(self, operations: Operations, weights: Weights, config: EncoderConfig) -> None:
        """Take the tensors. Raises EngineError for one that is missing or has a wrong shape."""
        self._operations = operations
        prefix = weights.prefix("embeddings.tok_embeddings", *_PREFIXES)
        self._words = Table(weights, f"{prefix}embeddings.tok_embeddings.weight", config.vocabulary, config.width)
        self._norm = LayerNorm.of(operations, weights, f"{prefix}embeddings.norm", config)
        self._last_norm = LayerNorm.of(operations, weights, f"{prefix}final_norm", config)
        rotations = Rotations(operations, config.head_size)
        self.layers = tuple(
            _layer(operations, weights, f"{prefix}layers.{number}.", config, number, rotations)
            for number in range(config.layers)
        )

    def embed(self, batch: TokenBatch) -> Array:
        """See ``Network.embed``."""
        return self._norm(self._operations.array(self._words[batch.tokens]))

    def finish(self, hidden: Array) -> Array:
        """See ``Network.finish``."""
        return self._last_norm(hidden)


def _layer(
    operations: Operations, weights: Weights, root: str, config: EncoderConfig, number: int, rotations: Rotations
) -> _Layer:
    width, inner = config.width, config.inner

    def dense(name: str, outputs: int, inputs: int) -> Dense:
        return Dense.of(operations, weights, f"{root}{name}", (outputs, inputs))

    return _Layer(
        operations,
        config,
        config.rotations[number],
        rotations,
        LayerNorm.of(operations, weights, f"{root}attn_norm", config) if number else None,
        dense("attn.Wqkv", 3 * width, width),
        dense("attn.Wo", width, width),
        LayerNorm.of(operations, weights, f"{root}mlp_norm", config),
        dense("mlp.Wi", 2 * inner, width),
        dense("mlp.Wo", width, inner),
        operations.activation(config.activation),
    )
