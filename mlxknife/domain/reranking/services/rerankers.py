"""Rerankers: the service that loads a reranker for a terminal or a Python caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import RunnableModel, find_runnable
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import NotEnoughMemory, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.hints import HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.reranking.rules import ranking
from mlxknife.domain.reranking.values import RankedDocument, RerankRequest, Score
from mlxknife.domain.text.rules import display
from mlxknife.ports.engines.processes import ModelClient, ModelClients
from mlxknife.ports.system.system import System

_GROUP, _GROUP_CHARACTERS = 256, 1_000_000
"""The most documents of one request, and their characters."""


@attrs.define
class Reranker:
    """A loaded reranker. Use it as a context manager, or close it. Several threads may use it at once."""

    info: ModelInfo
    client: ModelClient
    notes: tuple[str, ...] = ()
    """Decisions made while loading, one sentence each."""

    def __repr__(self) -> str:
        """Return the model's name."""
        return reprs.call(self, model=self.info.name)

    def __enter__(self) -> Self:
        """Return the reranker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the reranker."""
        self.close()

    def close(self) -> None:
        """End the model process and free its memory."""
        self.client.close()

    def rank(
        self, query: str, documents: Sequence[str], *, top_k: int | None = None, instruction: str | None = None
    ) -> tuple[RankedDocument, ...]:
        """Return the documents with their scores, the best first; with ``top_k`` only so many of them.

        ``instruction`` says what makes a document right, for models that are trained with one. Raises ValidationError,
        EngineError, WorkerLost.
        """
        if top_k is not None and top_k < 1:
            msg = f"top_k is {top_k}, and must be at least 1"
            raise ValidationError(msg, param="top_k")
        scores = list[Score]()
        for group in _groups(documents):
            request = RerankRequest(query, tuple(documents[group.start : group.stop]), instruction)
            events = (event for event in self.client.submit(request) if isinstance(event, Score))
            scores += [attrs.evolve(score, index=group.start + score.index) for score in events]
        return ranking.ranked(scores, documents, top_k)


@attrs.frozen
class Rerankers:
    """The service behind ``rerank``."""

    catalog: Catalog
    clients: ModelClients
    system: System

    __repr__ = reprs.name

    def open(self, spec: str) -> Reranker:
        """Load the reranker that a spec names.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable,
        NotEnoughMemory, EngineError, WorkerLost.
        """
        client = self.clients.start()  # it starts up while the model is looked for
        try:
            model = find_runnable(self.catalog, spec, EngineKind.RERANKING)
            loaded = client.load(self._load_request(model))
        except BaseException:  # also Ctrl-C
            client.close()
            raise
        return Reranker(model.info, client, loaded.notes)

    def _load_request(self, model: RunnableModel) -> LoadRequest:
        size, free = memory.needed(model.facts).unpacked, self.system.memory_available_bytes()
        if free is not None and size > free:
            msg = f"'{model.info.name}' needs {display.size(size)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
        return LoadRequest(model.location, "fast", free, kind=EngineKind.RERANKING)


def _groups(documents: Sequence[str]) -> Iterator[range]:
    """Yield the places of documents that are sent together: so many as are tokenized well within the time limit."""
    start = size = 0
    for place, document in enumerate(documents):
        if place > start and (place - start == _GROUP or size + len(document) > _GROUP_CHARACTERS):
            yield range(start, place)
            start, size = place, 0
        size += len(document)
    if documents:
        yield range(start, len(documents))
