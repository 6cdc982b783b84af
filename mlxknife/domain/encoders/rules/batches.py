"""Batches: texts of similar length together, and no text waits for ever."""

from __future__ import annotations

from collections.abc import Sequence

MAX_TOKENS = 4096
"""The tokens of a batch, padding included; a longer text is a batch of its own."""
_WINDOW = 256
"""The texts, in order of arrival, that a batch is chosen from, if a batch has at most a quarter of them."""


def window(most: int) -> int:
    """Return how many texts a batch of at most ``most`` is chosen from."""
    return max(_WINDOW, 4 * most)


def next_batch(lengths: Sequence[int], most: int) -> list[int]:
    """Return the positions of the texts to embed next: the oldest one, and those that are nearest in length."""
    order = sorted(range(min(len(lengths), window(most))), key=lambda position: (lengths[position], position))
    if not order:
        return []
    oldest = order.index(0)
    start = oldest // most * most
    chosen = order[start : start + most]
    while len(chosen) > 1 and len(chosen) * lengths[chosen[-1]] > MAX_TOKENS:
        chosen.pop(0 if chosen[-1] == 0 else -1)
    return chosen
