"""The indexer: brings an index up to date with the files below some paths."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import attrs

from mlxknife.domain.embedding.services.embedders import Embedder
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.retrieval.rules import chunking
from mlxknife.domain.retrieval.values import (
    TEMPORARY,
    Chunk,
    Document,
    FoundFile,
    IndexedDocument,
    IndexReport,
    SkippedFile,
)
from mlxknife.ports.store.index_store import IndexStore
from mlxknife.ports.system.document_files import DocumentFiles
from mlxknife.ports.system.progress import Progress

GROUP = 256
"""The chunks after which the documents so far are embedded and committed. An embedder sorts that many by length."""


@attrs.define
class _Counts:
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    truncated: int = 0


@attrs.frozen
class _Pending:
    """A document that is embedded with the next group."""

    document: Document
    chunks: tuple[Chunk, ...]
    size: int
    """The bytes of its file."""

    def shares(self) -> Iterator[int]:
        """Yield the bytes that each chunk stands for in the progress."""
        done = 0
        for number in range(1, len(self.chunks) + 1):
            share = self.size * number // len(self.chunks) - done
            done += share
            yield share


@attrs.define
class _Group:
    """Documents whose chunks are being embedded."""

    pending: tuple[_Pending, ...]
    vectors: Iterator[Sequence[float]]
    begun: list[Sequence[float]] = attrs.field(factory=list, init=False)

    def begin(self) -> None:
        """Wait for the first vector: the model goes on with the others by itself."""
        self.begun.extend(islice(self.vectors, 1))

    def documents(self) -> list[IndexedDocument]:
        """Wait for all vectors, and return the documents with them."""
        vectors = chain(self.begun, self.vectors)
        return [
            IndexedDocument(one.document.path, one.document.digest, one.chunks, tuple(islice(vectors, len(one.chunks))))
            for one in self.pending
        ]


@attrs.define
class Indexer:
    """Updates one index. Use an indexer for one update."""

    store: IndexStore
    files: DocumentFiles
    embedder: Embedder
    progress: Progress
    _counts: _Counts = attrs.field(factory=_Counts, init=False)
    _pending: list[_Pending] = attrs.field(factory=list, init=False)
    _group: _Group | None = attrs.field(default=None, init=False)
    _skipped: list[SkippedFile] = attrs.field(factory=list, init=False)

    def update(self, roots: Iterable[str]) -> IndexReport:
        """Bring the index up to date. Raises what ``Index.update`` raises."""
        given = tuple(dict.fromkeys(roots))
        paths = given or tuple(map(self.files.root, self.store.info().roots))
        if not paths:
            msg = "The index has no paths yet"
            raise ValidationError(msg)
        found = self._found(paths)
        self.store.add_roots(paths)
        self.progress.begin("indexing", sum(found.values()))
        try:
            known = self.store.digests()
            kept = {path for path, size in found.items() if self._take(path, size, known.get(path))}
            self._embed()
            self._store()
        finally:
            self.progress.end()
        gone = [path for path in known if self._is_gone(path, paths, kept)]
        self.store.remove(gone)
        counts = self._counts
        return IndexReport(
            self.store.info(),
            counts.added,
            counts.updated,
            counts.unchanged,
            len(gone),
            counts.truncated,
            tuple(self._skipped),
        )

    def _found(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the files below the paths with their sizes, each once."""
        found, skipped = dict[str, int](), dict[str, SkippedFile]()
        for path in paths:
            for file in self.files.find(path):
                if isinstance(file, FoundFile):
                    found[file.path] = file.size
                else:
                    skipped[file.path] = file
        self._skipped += [file for path, file in skipped.items() if path not in found]
        return found

    def _take(self, path: str, size: int, known: bytes | None) -> bool:
        """Read a file, and embed it in its turn if it is new or changed. Return whether the index has it then."""
        document = self.files.read(path)
        if isinstance(document, SkippedFile):
            self._skipped.append(document)
            self.progress.advance(size)
            return False
        if document.digest == known:
            self._counts.unchanged += 1
            self.progress.advance(size)
            return True
        if known is None:
            self._counts.added += 1
        else:
            self._counts.updated += 1
        self._pending.append(_Pending(document, chunking.chunks(document), size))
        if sum(len(pending.chunks) for pending in self._pending) >= GROUP:
            self._embed()
        return True

    def _embed(self) -> None:
        """Let the model begin with the pending documents, and store the group before them meanwhile."""
        if not self._pending:
            return
        group = _Group(tuple(self._pending), self._vectors(tuple(self._pending)))
        self._pending.clear()
        group.begin()
        self._store()
        self._group = group

    def _store(self) -> None:
        """Take the group that is embedded into the index, in one transaction."""
        if self._group is not None:
            self.store.replace(self._group.documents())
        self._group = None

    def _vectors(self, group: Sequence[_Pending]) -> Iterator[Sequence[float]]:
        """Yield the vector of each chunk of a group."""
        texts = [chunking.titled_text(chunk) for pending in group for chunk in pending.chunks]
        shares = (share for pending in group for share in pending.shares())
        for first in range(0, len(texts), GROUP):
            for embedding in self.embedder.embed(texts[first : first + GROUP]):
                self._counts.truncated += embedding.is_truncated
                self.progress.advance(next(shares))
                yield array("f", embedding.vector)

    def _is_gone(self, path: str, roots: Sequence[str], kept: set[str]) -> bool:
        """Return whether a document of the index is no longer below the paths. What cannot be read now is kept."""
        if path in kept or not any(self.files.is_below(path, root) for root in roots):
            return False
        return not any(file.reason in TEMPORARY and self.files.is_below(path, file.path) for file in self._skipped)
