"""Running models in processes of their own, so that a crash costs a process and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostEvent


class Host(Protocol):
    """The process of one model. It is called in one thread, tells in the same, and never blocks it."""

    @property
    def process_id(self) -> int | None:
        """The process, while there is one. Raises nothing."""
        ...

    def submit(self, row: Row) -> None:
        """Send a row, after ``Loaded``. What the model refuses comes back as an error of that row. Raises nothing."""
        ...

    def cancel(self, row_id: int) -> None:
        """Drop a row and free its place; a step that is on its way may still tell of it. Raises nothing."""
        ...

    def close(self) -> None:
        """End the process and tell nothing more. Closing it twice is no mistake. Raises nothing."""
        ...


class Hosts(Protocol):
    """Starts processes that load models."""

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> Host:
        """Start a process that loads a model, and return at once.

        ``on_event`` is called later, never from within this call: with ``Loaded`` once, with each step of all rows
        together, and with ``Fell`` at the end, if it ends before it is closed. A process that cannot be started, that
        cannot load the model (EngineError, NotEnoughMemory), that dies, or that says nothing for a while (WorkerLost),
        is told as ``Fell``. The process ends when this one does, however that may end. Raises nothing.
        """
        ...
