"""Loading a model so that many answers can be made with it at a time; what a model's own process calls."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostedModel
from mlxknife.ports.engines.batches import Batches


class Loader(Protocol):
    """Loads models for batches."""

    def load(self, location: Location, profile: str, free: int) -> tuple[Batches, HostedModel]:
        """Load a model whose files are whole, and return its batch and what is known of it.

        ``profile`` says how a machine without GPU is to be used, ``free`` how many bytes there are for it, for rows
        that run and for what is kept of those that have ended. Raises EngineError where the runtime cannot, or where
        the tokenizer cannot be handed on.
        """
        ...
