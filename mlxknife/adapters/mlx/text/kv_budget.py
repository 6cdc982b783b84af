"""The KV budget: how much memory running rows take, so that no more start than fit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from mlxknife.adapters.mlx.text import kv_cache
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import Row

_AHEAD = 1024
"""The tokens of an answer that are reserved ahead of those that it has. So a high limit alone delays no other row."""


@attrs.frozen
class _LayerCost:
    bytes_per_token: float
    max_tokens: int | None


@attrs.frozen
class KVBudget:
    """The bytes that the KV cache of a model takes for each token, layer by layer, and the bytes that there are."""

    layers: tuple[_LayerCost, ...]
    limit: int | None = None

    @classmethod
    def of(cls, layers: Collection[Any], limit: int | None) -> KVBudget:
        """Return the budget for caches that hold one token; only their shapes are read."""
        return cls(tuple(cost for layer in layers for cost in _costs(layer)), limit)

    def fits(self, row: Row, running: Collection[int]) -> bool:
        """Whether one more row fits beside rows for which so many tokens are reserved.

        A batch pads all rows to the longest one. A row alone always fits.
        """
        if self.limit is None or not running:
            return True
        longest = max(reserved(row), *running)
        return (len(running) + 1) * self._bytes(longest) <= self.limit

    def _bytes(self, tokens: int) -> float:
        return sum(
            layer.bytes_per_token * (tokens if layer.max_tokens is None else min(tokens, layer.max_tokens))
            for layer in self.layers
        )


def shapes(model: Any, kv_bytes: int | None) -> tuple[int, KVBudget]:  # noqa: ANN401 - a module of MLX
    """Return the vocabulary size of a model and its KV budget. Both are shapes, so nothing is computed."""
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

    layers = kv_cache.fresh(model, KVCacheOptions())
    vocabulary_size = int(model(mx.array([[0]]), cache=layers).shape[-1])
    return vocabulary_size, KVBudget.of(layers, kv_bytes)


def _costs(layer: Any) -> list[_LayerCost]:  # noqa: ANN401 - a cache of mlx-lm
    """Return the cost of one cache; a cache of fixed size costs nothing for a token more."""
    parts = getattr(layer, "caches", None)
    if parts is not None:
        return [cost for part in parts for cost in _costs(part)]
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is None or values is None:
        return []
    return [_LayerCost((keys.nbytes + values.nbytes) / keys.shape[2], getattr(layer, "max_size", None))]


def reserved(row: Row, generated: int = 0) -> int:
    """Return the tokens that are reserved for a row: its prompt, its answer so far and ``_AHEAD`` more."""
    return len(row.prompt) + min(row.max_tokens, generated + _AHEAD)
