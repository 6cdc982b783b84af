"""What the scheduler and a runner exchange: a row that starts, its tokens, and the KV cache that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from mlxknife.adapters.mlx.text.sampling import Mask, Processor, Sampler
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions


@attrs.frozen(eq=False)
class RowStart:
    """A row that starts."""

    prompt: tuple[int, ...]
    cached: int
    """The number of prompt tokens that the layers hold already: always fewer than there are."""
    layers: list[Any]
    """The KV caches, one for each layer; those of a draft model follow."""
    max_tokens: int
    sampler: Sampler
    processors: Sequence[Processor]
    mask: Mask | None
    """The last of the processors, for a row with a grammar."""
    kv_cache: KVCacheOptions


@attrs.frozen(eq=False)
class RowCache:
    """The KV cache of a finished row, and the tokens in it."""

    tokens: tuple[int, ...]
    layers: list[Any]


@attrs.frozen(eq=False)
class RowToken:
    """The next token of a row; its logprobs are computed already. The last token comes with the row's cache."""

    row: int
    token: int
    logprobs: Any
    finish_reason: FinishReason | None = None
    cache: RowCache | None = None


class Runner(Protocol):
    """Runs rows. Every method may raise what MLX raises; the runner must not be used afterwards."""

    @property
    def max_rows(self) -> int:
        """The number of rows that can run at once."""
        ...

    def start(self, row_id: int, row: RowStart) -> None:
        """Start a row; fewer than ``max_rows`` run."""
        ...

    def drop(self, row_id: int) -> RowCache | None:
        """End a running row; return its cache if its prompt has been prefilled."""
        ...

    def step(self) -> list[RowToken]:
        """Decode one token of each prefilled row, and prefill one chunk of prompts."""
        ...

    def close(self) -> None:
        """Free what the runner holds."""
        ...
