"""Rows of tokens of a batch, padded on the right to the same length, and which tokens see which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlxknife.domain.errors import EngineError

if TYPE_CHECKING:
    from mlxknife.adapters.mlx.encoders.operations import Array, Operations
    from mlxknife.domain.encoders.values import EncoderConfig

_MAX_SCORES = 2**22
"""The attention scores that are held at once."""
_KEPT = 512
"""The longest batch whose masks are kept from layer to layer."""


class TokenBatch:
    """The tokens of a batch. ``types`` are their token types, where they are not all 0."""

    def __init__(
        self, rows: Sequence[Sequence[int]], config: EncoderConfig, types: Sequence[Sequence[int]] | None = None
    ) -> None:
        """Check and pad the rows. Raises EngineError for too many tokens, none, or one outside the vocabulary."""
        self.lengths = np.array([len(row) for row in rows])
        self.length = int(self.lengths.max())
        if self.lengths.min() == 0 or self.length > config.max_tokens:
            msg = f"The model reads 1 to {config.max_tokens} tokens"
            raise EngineError(msg)
        self.tokens = _padded(rows, self.length, config.padding)
        self.types = None if types is None else _padded(types, self.length, 0)
        if self.tokens.min() < 0 or self.tokens.max() >= config.vocabulary:
            msg = "The tokenizer has tokens that the model does not know"
            raise EngineError(msg)
        self.is_token = np.arange(self.length) < self.lengths[:, None]
        self.is_even = bool((self.lengths == self.length).all())
        """Whether no row is padded."""
        self._masks = dict[tuple[object, ...], "Array | None"]()

    def parts(self, heads: int, window: int | None, *, is_causal: bool) -> Iterator[tuple[slice, slice]]:
        """Yield slices of the queries, each with the slice of the keys that they may see."""
        step = max(1, _MAX_SCORES // (len(self.lengths) * heads * self.length))
        if window is not None and self.length > 4 * window:
            step = max(step, 2 * window)
        for start in range(0, self.length, step):
            stop = min(start + step, self.length)
            first = 0 if window is None else max(0, start - window)
            last = self.length if window is None else min(self.length, stop + window)
            yield slice(start, stop), slice(first, min(last, stop) if is_causal else last)

    def mask(
        self, operations: Operations, queries: slice, keys: slice, window: int | None, *, is_causal: bool
    ) -> Array | None:
        """Return which keys the queries see, for ``Operations.attend``; None for all."""
        key = (queries.start, queries.stop, keys.start, keys.stop, window, is_causal)
        if key in self._masks:
            return self._masks[key]
        distance = np.arange(queries.start, queries.stop)[:, None] - np.arange(keys.start, keys.stop)
        is_seen = np.ones_like(distance, bool)
        if is_causal:
            is_seen &= distance >= 0
        if window is not None:
            is_seen &= np.abs(distance) <= window
        seen = is_seen[None, None]
        if not self.is_even:
            seen = (
                seen & self.is_token[:, None, None, keys] if not is_seen.all() else self.is_token[:, None, None, keys]
            )
        found = None if seen.all() else operations.mask(seen)
        if self.length <= _KEPT:
            self._masks[key] = found
        return found


def _padded(
    rows: Sequence[Sequence[int]], length: int, padding: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    found = np.full((len(rows), length), padding, np.int64)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found
