"""Embedders: the service that loads an embedding model for a terminal or a Python caller."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import RunnableModel, find_runnable
from mlxknife.domain.embedding.rules import memory
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import NotEnoughMemory
from mlxknife.domain.generation.values.loading import Device, LoadRequest
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.text.rules import display
from mlxknife.ports.engines.processes import ModelClient, ModelClients
from mlxknife.ports.system.system import System


@attrs.define
class Embedder:
    """A loaded embedding model. Use it as a context manager, or close it. Several threads may use it at once."""

    info: ModelInfo
    client: ModelClient
    notes: tuple[str, ...] = ()
    """Decisions made while loading, one sentence each."""

    def __repr__(self) -> str:
        """Return the model's name."""
        return reprs.call(self, model=self.info.name)

    def __enter__(self) -> Self:
        """Return the embedder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the embedder."""
        self.close()

    def close(self) -> None:
        """End the model process and free its memory."""
        self.client.close()

    def embed(
        self,
        texts: Sequence[str],
        *,
        is_query: bool = False,
        instruction: str | None = None,
        dimensions: int | None = None,
    ) -> Generator[Embedding]:
        """Yield the embedding of each text in the order of the texts, as soon as it and those before it are there.

        ``is_query`` adds the model's prompt for queries; ``instruction`` describes the task, for models that are
        trained with one. ``dimensions`` shortens the vectors of models that are trained for it. Closing the generator
        cancels the rest. Raises ValidationError, EngineError, WorkerLost.
        """
        if not texts:
            return
        waiting, following = dict[int, Embedding](), 0
        for event in self.client.submit(EmbeddingRequest(tuple(texts), is_query, instruction, dimensions=dimensions)):
            if isinstance(event, Embedding):
                waiting[event.index] = event
            while following in waiting:
                yield waiting.pop(following)
                following += 1


@attrs.frozen
class Embedders:
    """The service behind ``embed``."""

    catalog: Catalog
    clients: ModelClients
    system: System

    __repr__ = reprs.name

    def open(self, spec: str, device: Device = Device.CPU) -> Embedder:
        """Load the embedding model that a spec names. On the CPU, a GPU stays free for a language model.

        Raises UnsupportedCapability where there is no GPU to compute on, ValidationError, ModelNotFound,
        AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable, NotEnoughMemory, EngineError, WorkerLost.
        """
        client = self.clients.start()  # it starts up while the model is looked for
        try:
            model = find_runnable(self.catalog, spec, EngineKind.EMBEDDING)
            loaded = client.load(self._load_request(model, device))
        except BaseException:  # also Ctrl-C
            client.close()
            raise
        return Embedder(model.info, client, loaded.notes)

    def _load_request(self, model: RunnableModel, device: Device) -> LoadRequest:
        size, free = memory.needed(model.facts), self.system.memory_available_bytes()
        if free is not None and size > free:
            msg = f"'{model.info.name}' needs {display.size(size)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
        return LoadRequest(model.location, "fast", free, kind=EngineKind.EMBEDDING, device=device)
