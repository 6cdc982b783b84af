"""Schedulers for tests, over any model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlxknife.adapters.mlx.text.scheduler import Scheduler
from tests.parrot_rows import END_TOKEN, parrot_model

PREFILL_CHUNK = 32


def scheduler_of(model: object, *, prefix_bytes: int = 2**26, max_rows: int = 8) -> Scheduler:
    return Scheduler(model, {END_TOKEN}, prefix_bytes=prefix_bytes, max_rows=max_rows, prefill_chunk=PREFILL_CHUNK)


class FunctionModel:
    """A model that is a function; it has as many layers as the parrot."""

    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        self._call = call
        self.layers = parrot_model().layers

    def __call__(self, inputs: Any, cache: Any = None) -> Any:  # noqa: ANN401
        return self._call(inputs, cache)
