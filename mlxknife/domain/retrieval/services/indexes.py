"""Indexes: the service that opens an index with its embedding model, for the command line and for Python callers."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.embedding.services.embedders import Embedder, Embedders
from mlxknife.domain.errors import UnsupportedCapability, ValidationError
from mlxknife.domain.models.rules import starters
from mlxknife.domain.reranking.services.rerankers import Reranker
from mlxknife.domain.retrieval.rules import chunking, models, queries, ranking
from mlxknife.domain.retrieval.services.indexer import Indexer
from mlxknife.domain.retrieval.values import Hit, IndexInfo, IndexModel, IndexReport, SearchMode
from mlxknife.ports.store.index_store import IndexStore, IndexStores
from mlxknife.ports.system.document_files import DocumentFiles
from mlxknife.ports.system.progress import NoProgress, Progress

TOP_K = 10
"""The hits of a search that names no number."""


@attrs.define
class Index:
    """An open index with its embedding model. Use it as a context manager, or close it. One thread may use it."""

    path: str
    store: IndexStore
    files: DocumentFiles
    embedder: Embedder | None = None
    """None for an index that is searched by words only."""

    def __repr__(self) -> str:
        """Return the path of the index."""
        return reprs.call(self, path=self.path)

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the index."""
        self.close()

    def close(self) -> None:
        """Close the file, and end the process of the model."""
        self.store.close()
        if self.embedder is not None:
            self.embedder.close()

    def info(self) -> IndexInfo:
        """Return what the index holds. Raises IndexNotUsable, StorageError, AccessDenied, LocksPresent."""
        return self.store.info()

    def update(self, paths: Sequence[str] = (), progress: Progress | None = None) -> IndexReport:
        """Take in the files below the paths that are new or changed, and remove those that are gone.

        Without paths, those are taken that the index was made from. Every few hundred chunks are committed, so an
        update that is interrupted goes on where it was. Raises what ``search`` raises, and ValidationError where there
        are no paths.
        """
        indexer = Indexer(self.store, self.files, self._embedder(), progress or NoProgress())
        return indexer.update(self.files.root(path) for path in paths)

    def search(
        self,
        question: str,
        *,
        top_k: int = TOP_K,
        mode: SearchMode = SearchMode.HYBRID,
        reranker: Reranker | None = None,
    ) -> tuple[Hit, ...]:
        """Return the chunks that answer a question best, at most ``top_k``.

        A ``reranker`` reads the best 30 of them, or ``top_k`` if that is more, and decides their order and scores.

        Raises ValidationError, IndexNotUsable, StorageError, AccessDenied, LocksPresent, EngineError, WorkerLost, and
        UnsupportedCapability for vectors of an index that was opened without its model.
        """
        ranking.check_top_k(top_k)
        if not question.strip():
            msg = "The question is empty"
            raise ValidationError(msg)
        if reranker is None:
            return self._found(question, mode, top_k)
        found = self._found(question, mode, ranking.reranked_count(top_k))
        texts = [chunking.titled_text(hit) for hit in found]
        return ranking.reranked(found, reranker.rank(question, texts, top_k=top_k))

    def _found(self, question: str, mode: SearchMode, count: int) -> tuple[Hit, ...]:
        vector = None
        if mode is not SearchMode.TEXT:
            (embedding,) = self._embedder().embed([question], is_query=True)
            vector = embedding.vector
        match = None if mode is SearchMode.VECTOR else queries.match_expression(question)
        return ranking.hits(self.store.search(vector, match, ranking.depth(count)), mode, count)

    def _embedder(self) -> Embedder:
        if self.embedder is None:
            msg = "The index was opened without its embedding model"
            raise UnsupportedCapability(msg)
        return self.embedder


@attrs.frozen
class Indexes:
    """The service behind ``index``, ``search`` and ``run --context``."""

    stores: IndexStores
    files: DocumentFiles
    embedders: Embedders

    __repr__ = reprs.name

    def model_spec(self, path: str, model: str | None = None) -> str:
        """Return the model that ``open`` loads: the one that is named, that of the index, or the starter embedder.

        Raises what ``open`` raises for the file.
        """
        if model is not None:
            return model
        if not self.stores.exists(path):
            return starters.EMBEDDER
        store = self.stores.open(path)
        try:
            return store.info().model.spec
        finally:
            store.close()

    def open(
        self, path: str, *, model: str | None = None, is_created: bool = False, is_text_only: bool = False
    ) -> Index:
        """Open an index and load its embedding model.

        ``is_created`` makes an index where there is none; ``model`` then chooses its model. An index that exists is
        only opened with its own model. With ``is_text_only`` no model is loaded, and the index is searched by words.

        Raises IndexNotUsable, IndexModelMismatch, StorageError, AccessDenied, LocksPresent, and what ``Embedders.open``
        raises.
        """
        if is_text_only:
            return Index(path, self.stores.open(path), self.files)
        if not is_created:
            self.stores.open(path).close()
        embedder = self.embedders.open(self.model_spec(path, model))
        try:
            store = self._opened(path, identity(embedder), is_created=is_created)
        except BaseException:  # also Ctrl-C
            embedder.close()
            raise
        return Index(path, store, self.files, embedder)

    def _opened(self, path: str, model: IndexModel, *, is_created: bool) -> IndexStore:
        store = self.stores.open(path, model if is_created else None)
        try:
            models.check_same(path, store.info().model, model)
        except BaseException:
            store.close()
            raise
        return store


def identity(embedder: Embedder) -> IndexModel:
    """Return what identifies the vectors of a model. Raises EngineError, WorkerLost."""
    probes = [embedder.embed([models.PROBE], is_query=is_query) for is_query in (False, True)]
    vectors = tuple(embedding.vector for probe in probes for embedding in probe)
    return IndexModel(embedder.info.name, embedder.info.commit, len(vectors[0]), vectors)
