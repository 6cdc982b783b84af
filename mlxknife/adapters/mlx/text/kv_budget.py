"""How much memory rows take that run side by side, so that no more of them begin than there is room for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from mlxknife.domain.generation.values.rows import Row

_AHEAD = 1024
"""For how many tokens of an answer there is to be room; how long one gets that may be longer, nobody knows."""


@attrs.frozen
class _Layer:
    bytes_of_a_token: float
    most_tokens: int | None


@attrs.frozen
class Appetite:
    """What a model remembers of a token in each layer."""

    layers: tuple[_Layer, ...]

    @classmethod
    def of(cls, layers: Collection[Any]) -> Appetite:
        """Return it from caches that a token went through; nothing needs to be computed for their shapes."""
        return cls(tuple(layer for cache in layers for layer in _parts(cache)))

    def fits(self, row: Row, running: Collection[Row], room: int | None) -> bool:
        """Whether one more row may begin. All stand as far apart as the longest; one alone may always try."""
        if room is None or not running:
            return True
        longest = max(map(_reach, (row, *running)))
        return (len(running) + 1) * self._bytes(longest) <= room

    def _bytes(self, tokens: int) -> float:
        return sum(
            layer.bytes_of_a_token * (tokens if layer.most_tokens is None else min(tokens, layer.most_tokens))
            for layer in self.layers
        )


def _parts(cache: Any) -> list[_Layer]:  # noqa: ANN401 - a cache of mlx-lm
    """Return what one cache takes; one of fixed size takes nothing worth counting for a token more."""
    parts = getattr(cache, "caches", None)
    if parts is not None:
        return [layer for part in parts for layer in _parts(part)]
    keys, values = getattr(cache, "keys", None), getattr(cache, "values", None)
    if keys is None or values is None:
        return []
    return [_Layer((keys.nbytes + values.nbytes) / keys.shape[2], getattr(cache, "max_size", None))]


def _reach(row: Row) -> int:
    return len(row.prompt) + min(row.max_tokens, _AHEAD)
