"""Indexes in SQLite files. See ``IndexStore``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs
import numpy as np

from mlxknife.adapters.sqlite_index import schema
from mlxknife.adapters.sqlite_index.failures import Damaged, map_sqlite_errors
from mlxknife.adapters.sqlite_index.segments import Segments, encoded, rows_of
from mlxknife.domain.retrieval.values import Candidates, Chunk, IndexedDocument, IndexInfo, IndexModel, Passage

_MOST_DIMENSIONS = 65_536
_PROBES = 2
_CACHE = {"DEFERRED": -2_000, "IMMEDIATE": -64_000}
"""The KB of pages that a transaction keeps. A search reads each page once, and reuses little memory for all of them; a
write keeps its pages until it is complete, so that readers are not shut out before."""
_TITLE_WEIGHT = 1.0
"""How much a word of a title counts, for one of the text."""


@attrs.frozen
class SqliteIndexes:
    """Implements ``IndexStores``."""

    def exists(self, path: str) -> bool:
        """See ``IndexStores.exists``."""
        if not schema.is_file(path):
            return False
        with map_sqlite_errors(path):
            connection = schema.connected(path)
            try:
                return not schema.is_empty(connection)
            finally:
                connection.close()

    def open(self, path: str, new: IndexModel | None = None) -> SqliteIndex:
        """See ``IndexStores.open``."""
        if not schema.is_file(path):
            if new is None:
                raise schema.missing(path)
            schema.create_file(path)
        with map_sqlite_errors(path):
            connection = schema.connected(path)
            try:
                if new is not None and schema.is_empty(connection):
                    schema.create_tables(connection, new)
                schema.check(connection, path)
                return SqliteIndex(path, connection, _model(connection))
            except BaseException:
                connection.close()
                raise


@attrs.frozen
class SqliteIndex:
    """Implements ``IndexStore``."""

    path: str
    connection: sqlite3.Connection = attrs.field(repr=False)
    model: IndexModel

    def info(self) -> IndexInfo:
        """See ``IndexStore.info``."""
        with self._transaction():
            (files,) = self.connection.execute("SELECT count(*) FROM files").fetchone()
            (chunks,) = self.connection.execute("SELECT count(*) FROM chunks").fetchone()
            roots = tuple(_path(path) for (path,) in self.connection.execute("SELECT path FROM roots ORDER BY path"))
        return IndexInfo(self.model, files, chunks, roots)

    def digests(self) -> Mapping[str, bytes]:
        """See ``IndexStore.digests``."""
        with self._transaction():
            rows = self.connection.execute("SELECT path, digest FROM files ORDER BY path").fetchall()
            return {_path(path): bytes(digest) for path, digest in rows}

    def add_roots(self, roots: Sequence[str]) -> None:
        """See ``IndexStore.add_roots``."""
        with self._transaction("IMMEDIATE"):
            self.connection.executemany(
                "INSERT OR IGNORE INTO roots VALUES (?)", [(os.fsencode(root),) for root in roots]
            )

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """See ``IndexStore.replace``."""
        with self._transaction("IMMEDIATE"):
            self._remove([document.path for document in documents])
            keys, vectors = list[int](), list[Sequence[float]]()
            for document in documents:
                keys += self._add(document)
                vectors += document.vectors
            if not keys:
                return
            matrix = np.array(vectors, np.float32)
            rows = zip(keys, map(np.ndarray.tobytes, matrix), strict=True)
            self.connection.executemany("INSERT INTO vectors VALUES (?, ?)", rows)
            self._segments.add(encoded(keys, matrix))

    def remove(self, paths: Collection[str]) -> None:
        """See ``IndexStore.remove``."""
        if paths:
            with self._transaction("IMMEDIATE"):
                self._remove(paths)

    def search(self, vector: Sequence[float] | None, match: str | None, count: int) -> Candidates:
        """See ``IndexStore.search``."""
        with self._transaction():
            nearest, matching = list[tuple[int, float]](), list[tuple[int, float]]()
            if vector is not None:
                nearest = self._segments.nearest(np.array(vector, np.float32), count)
            if match is not None:
                matching = self._matching(match, count)
            passages = {key: self._passage(key) for key, _ in (*nearest, *matching)}
        return Candidates(
            tuple((passages[key], score) for key, score in nearest),
            tuple((passages[key], score) for key, score in matching),
        )

    def close(self) -> None:
        """See ``IndexStore.close``."""
        self.connection.close()

    @property
    def _segments(self) -> Segments:
        return Segments(self.connection, self.model.dimensions)

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[None]:
        with map_sqlite_errors(self.path):
            self.connection.execute(f"PRAGMA cache_size={_CACHE[kind]}")
            self.connection.execute(f"BEGIN {kind}")
            try:
                yield
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def _matching(self, match: str, count: int) -> list[tuple[int, float]]:
        rows = self.connection.execute(
            "SELECT rowid, -bm25(words, ?, 1.0) AS score FROM words WHERE words MATCH ? ORDER BY bm25(words, ?, 1.0),"
            " rowid LIMIT ?",
            (_TITLE_WEIGHT, match, _TITLE_WEIGHT, count),
        )
        return [(key, float(score)) for key, score in rows]

    def _passage(self, key: int) -> Passage:
        row = self.connection.execute(
            "SELECT path, first_line, last_line, text, title FROM chunks JOIN files ON files.id = file"
            " WHERE chunks.id = ?",
            (key,),
        ).fetchone()
        if row is None or [type(value) for value in row] != [bytes, int, int, str, str]:
            msg = "a chunk is missing or has a value of a wrong type"
            raise Damaged(msg)
        return Passage(key, _path(row[0]), Chunk(*row[1:]))

    def _add(self, document: IndexedDocument) -> Iterator[int]:
        """Insert the texts of a document, and yield the keys of its chunks."""
        inserted = self.connection.execute(
            "INSERT INTO files (path, digest) VALUES (?, ?)", (os.fsencode(document.path), document.digest)
        )
        for chunk in document.chunks:
            row = (inserted.lastrowid, chunk.first_line, chunk.last_line, chunk.title, chunk.text)
            added = self.connection.execute(
                "INSERT INTO chunks (file, segment, first_line, last_line, title, text) VALUES (?, 0, ?, ?, ?, ?)", row
            )
            key = added.lastrowid or 0
            self.connection.execute(
                "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)", (key, chunk.title, chunk.text)
            )
            yield key

    def _remove(self, paths: Collection[str]) -> None:
        files, chunks = list[tuple[int]](), list[tuple[int, str, str]]()
        for path in paths:
            file = self.connection.execute("SELECT id FROM files WHERE path = ?", (os.fsencode(path),)).fetchone()
            if file is not None:
                files.append(file)
                chunks += self.connection.execute("SELECT id, title, text FROM chunks WHERE file = ?", file)
        keys = [(key,) for key, _, _ in chunks]
        self._segments.remove([key for (key,) in keys])
        run = self.connection.executemany
        run("INSERT INTO words (words, rowid, title, text) VALUES ('delete', ?, ?, ?)", chunks)
        run("DELETE FROM vectors WHERE chunk = ?", keys)
        run("DELETE FROM chunks WHERE file = ?", files)
        run("DELETE FROM files WHERE id = ?", files)


def _model(connection: sqlite3.Connection) -> IndexModel:
    """Return the model of an index. Raises Damaged, sqlite3.Error."""
    rows = connection.execute("SELECT name, revision, dimensions, probes FROM model LIMIT 2").fetchall()
    for name, revision, dimensions, probes in rows if len(rows) == 1 else ():
        if not isinstance(name, str) or not isinstance(revision, str | None) or not isinstance(dimensions, int):
            break
        if 0 < dimensions <= _MOST_DIMENSIONS:
            vectors = rows_of(probes, np.float32, dimensions, _PROBES)
            return IndexModel(name, revision, dimensions, tuple(tuple(vector) for vector in vectors.tolist()))
    msg = "its model is not recorded"
    raise Damaged(msg)


def _path(stored: object) -> str:
    if not isinstance(stored, bytes):
        msg = "a path is not one"
        raise Damaged(msg)
    return os.fsdecode(stored)
