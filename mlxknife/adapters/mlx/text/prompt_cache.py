"""What a model remembers between its answers: mlx-lm's caches, one for a layer, and the tokens that went into them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mlxknife.adapters.mlx.text import kv_cache
from mlxknife.domain.generation.values.generation import CacheShape


class PromptCache:
    """The memory of a model, and of the draft model beside it where there is one."""

    def __init__(self, models: Sequence[Any]) -> None:
        """Take the models of mlx-lm, the one that answers first."""
        self._models = models
        self._borders = [0]
        """Where the layers of each model begin and end."""
        self._shape: CacheShape | None = None
        self._held: tuple[int, ...] = ()
        self.layers: list[Any] = []
        """The caches of all layers of all models, in the one list that mlx-lm wants."""

    def prepare(self, tokens: Sequence[int], shape: CacheShape) -> int:
        """Make it hold only what a request begins with; return how many tokens that are.

        Until ``keep`` is called nothing of it is known, so that what breaks off in between is not built upon.
        Raises ValidationError for a shape that it cannot have.
        """
        held, self._held = self._held, ()
        if shape == self._shape:
            start = min([_common(held, tokens[:-1]), *(_count(part) or 0 for part in self._parts())])
            if start and self._goes_back_to(start):
                return start
        else:
            kv_cache.check(self._models[0], shape)
        self.forget()
        for model in self._models:
            self.layers += kv_cache.made(model, shape)
            self._borders.append(len(self.layers))
        self._shape = shape
        return 0

    def keep(self, tokens: tuple[int, ...]) -> None:
        """Note which tokens were read and said; what was said last may not have gone in yet."""
        count = _count(self._parts()[0]) if self.layers else None
        self._held = tokens[:count] if count is not None and count <= len(tokens) else ()

    def forget(self) -> None:
        """Hold nothing."""
        self.layers, self._borders, self._held, self._shape = [], [0], (), None

    def _parts(self) -> list[list[Any]]:
        return [self.layers[begin:end] for begin, end in pairwise(self._borders)]

    def _goes_back_to(self, start: int) -> bool:
        from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache  # noqa: PLC0415 - it is loaded by now

        surpluses = [(part, (_count(part) or 0) - start) for part in self._parts()]
        if any(surplus and not can_trim_prompt_cache(part) for part, surplus in surpluses):
            return False
        for part, surplus in surpluses:
            if surplus:
                trim_prompt_cache(part, surplus)
        return True


def _count(layers: Sequence[Any]) -> int | None:
    """Return how many tokens went into a model; None where no layer counts them."""
    counts = (getattr(layer, "offset", None) for layer in layers)
    return next((count for count in counts if isinstance(count, int)), None)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    longest = min(len(one), len(other))
    return next((place for place in range(longest) if one[place] != other[place]), longest)
