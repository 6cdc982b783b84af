"""Indexes for tests: an embedding model without weights, whose vectors count words, over real files and SQLite."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar, cast
from zlib import crc32

import attrs

from mlxknife.adapters.documents.files import DiskFiles
from mlxknife.adapters.documents.pdf import PdfReader
from mlxknife.adapters.sqlite_index.store import SqliteIndexes
from mlxknife.domain.embedding.services.embedders import Embedder, Embedders
from mlxknife.domain.embedding.values import Embedding, EmbeddingEvent, EmbeddingRequest
from mlxknife.domain.engines.values import Event, Request
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.models.values.info import Capability, Framework, ModelInfo, ModelTraits, ModelType
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.reranking.services.rerankers import Reranker
from mlxknife.domain.reranking.values import RerankRequest, Score
from mlxknife.domain.retrieval.services.indexes import Index, Indexes

EventT = TypeVar("EventT", bound=Event)
DIMENSIONS = 32
MAX_WORDS = 120


@attrs.define
class CountingClient:
    """Implements ``ModelClient``: each word counts in one dimension, and a seed chooses which."""

    dimensions: int = DIMENSIONS
    seed: int = 0
    texts: list[str] = attrs.field(factory=list)
    """The texts so far."""
    fails_at: int | None = None
    """The number of texts after which every request fails."""
    is_closed: bool = False

    def load(self, request: LoadRequest) -> ModelLoaded:
        del request
        return ModelLoaded(0.0, ())

    def submit(self, request: Request[EventT]) -> Generator[EventT]:
        assert isinstance(request, EmbeddingRequest)
        return cast("Generator[EventT]", self._events(request))

    def _events(self, request: EmbeddingRequest) -> Generator[EmbeddingEvent]:
        for index, text in enumerate(map(str, request.texts)):
            if self.fails_at is not None and len(self.texts) >= self.fails_at:
                msg = "The model failed"
                raise EngineError(msg)
            self.texts.append(text)
            yield Embedding(index, self.vector(text), len(text.split()), len(text.split()) > MAX_WORDS)

    def vector(self, text: str) -> tuple[float, ...]:
        counts = [1e-3] * self.dimensions
        for word in text.lower().split():
            counts[crc32(word.strip(".,?!").encode(), self.seed) % self.dimensions] += 1
        length = math.hypot(*counts)
        return tuple(count / length for count in counts)

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@attrs.frozen
class CountingEmbedders:
    """Stands for ``Embedders``: every name is a model; its dimensions and seed can be changed."""

    client: CountingClient = attrs.field(factory=CountingClient)
    commits: dict[str, str] = attrs.field(factory=dict)

    def open(self, spec: str) -> Embedder:
        name, _, commit = spec.partition("@")
        traits = ModelTraits(Framework.PYTORCH, ModelType.EMBEDDING, (Capability.EMBEDDINGS,), None, None)
        return Embedder(_info(name, commit or self.commits.get(name), traits), self.client)


@attrs.define
class LengthClient:
    """Implements ``ModelClient``: the score of a document falls with its length; it reads so many characters."""

    max_characters: int = 1000
    requests: list[RerankRequest] = attrs.field(factory=list)

    def load(self, request: LoadRequest) -> ModelLoaded:
        del request
        return ModelLoaded(0.0, ())

    def submit(self, request: Request[EventT]) -> Generator[EventT]:
        assert isinstance(request, RerankRequest)
        self.requests.append(request)
        scores = (
            Score(index, 1 / (1 + len(text)), len(text), len(text) > self.max_characters)
            for index, text in enumerate(request.documents)
        )
        return cast("Generator[EventT]", scores)

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self) -> None:
        pass


def reranker(client: LengthClient) -> Reranker:
    """Return a reranker over a client."""
    traits = ModelTraits(Framework.PYTORCH, ModelType.RERANKER, (Capability.RERANKING,), None, None)
    return Reranker(_info("reranker", None, traits), client)


def _info(name: str, commit: str | None, traits: ModelTraits) -> ModelInfo:
    return ModelInfo(
        name=name,
        commit=commit,
        size_bytes=1,
        modified=0.0,
        traits=traits,
        integrity=Integrity.VERIFIED,
        runtime_compatible=True,
        reason=None,
        cached=True,
        origin=None,
    )


def indexes(embedders: CountingEmbedders | None = None) -> Indexes:
    """Return the service over real adapters."""
    made = cast("Embedders", embedders or CountingEmbedders())
    return Indexes(SqliteIndexes(), DiskFiles(PdfReader()), made)


def open_index(path: Path, embedders: CountingEmbedders | None = None, model: str | None = "counting") -> Index:
    """Open an index, or make one."""
    return indexes(embedders).open(str(path), model=model, is_created=True)
