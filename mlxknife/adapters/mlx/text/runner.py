"""What passes between the batch of a model and whatever runs its rows: many together, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from mlxknife.adapters.mlx.text.sampling import Processor, Sampler
from mlxknife.domain.generation.values.generation import FinishReason


@attrs.frozen(eq=False)
class Start:
    """A row as it begins."""

    prompt: tuple[int, ...]
    known: int
    """How many tokens of the prompt the layers hold already; always fewer than there are."""
    layers: list[Any]
    max_tokens: int
    sampler: Sampler
    processors: Sequence[Processor]


@attrs.frozen(eq=False)
class Memory:
    """What a row leaves behind: tokens, and the caches of all layers that have read just them."""

    tokens: tuple[int, ...]
    layers: list[Any]


@attrs.frozen(eq=False)
class Moved:
    """A row that got a token; ``logprobs`` are computed already, and ``memory`` is there at the last token."""

    row: int
    token: int
    logprobs: Any
    ended: FinishReason | None = None
    memory: Memory | None = None


class Runner(Protocol):
    """Runs rows; every method may raise what MLX raises, and it is of no use afterwards."""

    @property
    def places(self) -> int:
        """How many rows can run at a time."""
        ...

    def begin(self, row_id: int, start: Start) -> None:
        """Begin a row; there must be a place."""
        ...

    def drop(self, row_id: int) -> Memory | None:
        """End a row that runs; return what it leaves, if its prompt was read."""
        ...

    def next(self) -> list[Moved]:
        """Compute a token for each row that has read its prompt, and read one piece of prompts."""
        ...

    def close(self) -> None:
        """Give back what the runner holds of the machine."""
        ...
