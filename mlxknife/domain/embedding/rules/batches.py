"""Batches: texts of similar length together, and no text waits for ever."""

from __future__ import annotations

from collections.abc import Sequence

BATCH = 8
"""On a CPU, batches of 4 to 8 texts are the fastest."""
_WINDOW = 256
"""The texts, in order of arrival, that a batch is chosen from."""


def next_batch(lengths: Sequence[int]) -> list[int]:
    """Return the positions of the texts to embed next: the oldest one, and those that are nearest in length."""
    order = sorted(range(min(len(lengths), _WINDOW)), key=lambda position: (lengths[position], position))
    if not order:
        return []
    start = order.index(0) // BATCH * BATCH
    return order[start : start + BATCH]
