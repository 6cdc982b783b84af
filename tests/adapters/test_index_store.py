"""Indexes in SQLite: exact search, replaced and removed documents, foreign and damaged files, several processes."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife.adapters.sqlite_index import schema
from mlxknife.adapters.sqlite_index.segments import CAPACITY, encoded
from mlxknife.adapters.sqlite_index.store import SqliteIndex, SqliteIndexes
from mlxknife.domain.errors import AccessDenied, IndexNotUsable, KnifeError, LocksPresent, StorageError
from mlxknife.domain.retrieval.values import Chunk, IndexedDocument, IndexModel

STORES = SqliteIndexes()
SIZE = 12
MODEL = IndexModel("org/model", "c" * 40, SIZE, ((1.0, *[0.0] * (SIZE - 1)), (0.0, 1.0, *[0.0] * (SIZE - 2))))


def unit(chance: np.random.Generator, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = chance.standard_normal((count, SIZE), dtype=np.float32)
    made: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def document(name: str, texts: list[str], vectors: object = None, digest: bytes = b"d") -> IndexedDocument:
    chunks = tuple(Chunk(number, number, text, "title") for number, text in enumerate(texts, 1))
    rows = unit(np.random.default_rng(len(name)), len(texts)) if vectors is None else vectors
    return IndexedDocument(name, digest, chunks, tuple(rows))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteIndex]:
    opened = STORES.open(str(tmp_path / "an.index"), MODEL)
    yield opened
    opened.close()


def test_a_new_index_is_empty_private_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ünïcode name?.index"
    assert not STORES.exists(str(path))
    STORES.open(str(path), MODEL).close()
    assert STORES.exists(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    opened = STORES.open(str(path))
    info = opened.info()
    assert (info.model, info.files, info.chunks, info.roots) == (MODEL, 0, 0, ())
    assert opened.search(MODEL.probes[0], '"word"', 5).nearest == ()
    opened.close()
    opened.close()
    assert list(tmp_path.iterdir()) == [path]


def test_documents_are_found_replaced_and_removed(store: SqliteIndex) -> None:
    store.add_roots(["/b", "/a"])
    store.add_roots(["/a"])
    store.replace([document("/a/1", ["red apples", "green pears"]), document("/a/\udcff\n2", ["blue apples"])])
    assert store.info().roots == ("/a", "/b")
    assert (store.info().files, store.info().chunks) == (2, 3)
    found = store.search(None, '"apple"', 5).matching
    assert {passage.file for passage, _ in found} == {"/a/1", "/a/\udcff\n2"}
    assert all(score > 0 for _, score in found)
    store.replace([document("/a/1", ["yellow plums"], digest=b"e")])
    assert store.digests() == {"/a/1": b"e", "/a/\udcff\n2": b"d"}
    assert store.search(None, '"pears"', 5).matching == ()
    store.remove(["/a/\udcff\n2", "/unknown"])
    ((passage, _),) = store.search(None, '"plum" OR "apple"', 5).matching
    assert (passage.file, passage.chunk) == ("/a/1", Chunk(1, 1, "yellow plums", "title"))
    assert len(store.search(MODEL.probes[0], None, 5).nearest) == 1


@pytest.mark.parametrize("count", [1, CAPACITY, 3 * CAPACITY + 7])
def test_the_nearest_are_those_of_an_exact_search(store: SqliteIndex, count: int) -> None:
    vectors = unit(np.random.default_rng(count), count)
    store.replace([document("/a", [f"{place}" for place in range(count)], vectors)])
    for query in unit(np.random.default_rng(1), 5):
        found = store.search(query.tolist(), None, 20).nearest
        exact = vectors @ query
        best = np.argsort(-exact)[:20]
        assert [int(passage.chunk.text) for passage, _ in found] == best.tolist()
        assert np.allclose([score for _, score in found], exact[best], atol=1e-6)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 700)), max_size=5), st.integers(0, 100))
def test_any_order_of_changes_leaves_what_was_last_stored(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], seed: int
) -> None:
    chance, expected = np.random.default_rng(seed), dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]()
    opened = STORES.open(str(tmp_path_factory.mktemp("laws") / "an.index"), MODEL)
    try:
        for number, count in changes:
            expected[f"/{number}"] = unit(chance, count)
            opened.replace(
                [document(f"/{number}", [f"/{number} {place}" for place in range(count)], expected[f"/{number}"])]
            )
        for name in list(expected)[::2]:
            opened.remove([name])
            del expected[name]
        query = unit(chance, 1)[0]
        labels = {
            f"{name} {place}": float(row @ query) for name, rows in expected.items() for place, row in enumerate(rows)
        }
        found = opened.search(query.tolist(), None, 10).nearest
        assert [passage.chunk.text for passage, _ in found] == sorted(labels, key=lambda label: -labels[label])[:10]
        counts = [len(keys) // 8 for (keys,) in opened.connection.execute("SELECT keys FROM segments")]
        assert sum(counts) == len(labels)
        assert sum(count < CAPACITY // 2 for count in counts) <= 1 + sum(len(rows) > 0 for rows in expected.values())
    finally:
        opened.close()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_codes_are_as_near_as_their_errors_say(count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    vectors = unit(chance, count) * chance.choice([0, 1], (count, 1)).astype(np.float32)
    query = unit(chance, 1)[0]
    cosines, errors = encoded(range(count), vectors).cosines(query)
    assert (np.abs(cosines - vectors @ query) <= errors + 1e-5).all()
    assert errors.max() < 0.02


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.commit()
    connection.close()


def with_trigger(path: Path) -> None:
    STORES.open(str(path), MODEL).close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER evil AFTER INSERT ON files BEGIN DELETE FROM files; END")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    STORES.open(str(path), MODEL).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("# a document of the user\n" * 100), "is not an index"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 4000), "is not an index"),
        (foreign, "another program"),
        (with_trigger, "its tables are different"),
        (newer, "another version"),
        (Path.mkdir, "is not a file"),
        (os.mkfifo, "is not a file"),
    ],
    ids=["text", "header", "foreign", "trigger", "newer", "folder", "pipe"],
)
@pytest.mark.parametrize("new", [None, MODEL], ids=["open", "create"])
def test_what_is_no_index_is_refused_and_kept(
    tmp_path: Path, make: object, message: str, new: IndexModel | None
) -> None:
    path = tmp_path / "file"
    make(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(IndexNotUsable, match=message):
        STORES.open(str(path), new)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_index_is_named_and_an_empty_file_becomes_one(tmp_path: Path) -> None:
    path = tmp_path / "an.index"
    for _ in range(2):
        assert not STORES.exists(str(path))
        with pytest.raises(StorageError, match="There is no index"):
            STORES.open(str(path))
        path.touch()
    STORES.open(str(path), MODEL).close()
    assert STORES.exists(str(path))
    with pytest.raises(StorageError, match="No such file"):
        STORES.open(str(tmp_path / "no" / "folder"), MODEL)


@pytest.mark.parametrize("column", ["keys", "codes", "scales"])
@pytest.mark.parametrize("value", [b"", b"short", None, 7], ids=str)
def test_a_damaged_segment_is_named(store: SqliteIndex, column: str, value: object) -> None:
    store.replace([document("/a", ["text", "text"])])
    store.connection.execute("PRAGMA ignore_check_constraints = 1")
    if value is None:
        store.connection.execute("UPDATE segments SET id = 99")
    else:
        store.connection.execute(f"UPDATE segments SET {column} = ?", (value,))
    with pytest.raises(IndexNotUsable, match="is damaged"):
        store.replace([document("/a", ["other"])])
    assert store.digests() == {"/a": b"d"}
    if value is not None:
        with pytest.raises(IndexNotUsable, match="is damaged"):
            store.search(MODEL.probes[0], None, 5)


def test_a_chunk_without_a_segment_and_a_vector_of_another_type_are_damage(store: SqliteIndex) -> None:
    store.replace([document("/a", ["text"])])
    store.connection.execute("PRAGMA ignore_check_constraints = 1")
    store.connection.execute("UPDATE vectors SET vector = 'text'")
    with pytest.raises(IndexNotUsable, match="is damaged"):
        store.search(MODEL.probes[0], None, 5)
    store.connection.execute("UPDATE chunks SET segment = 'text'")
    with pytest.raises(IndexNotUsable, match="is damaged"):
        store.replace([document("/a", ["other"])])


@pytest.mark.parametrize(("table", "column"), [("segments", "scales"), ("vectors", "vector")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("count", [1, 5])
def test_a_vector_that_is_not_finite_is_named(
    store: SqliteIndex, table: str, column: str, value: float, count: int
) -> None:
    store.replace([document("/a", ["text", "text"])])
    ((blob, *_), *_) = store.connection.execute(f"SELECT {column} FROM {table}").fetchall()
    damaged = np.full(len(blob) // 4, value, np.float32).tobytes()
    store.connection.execute(f"UPDATE {table} SET {column} = ?", (damaged,))
    with pytest.raises(IndexNotUsable, match="not finite"):
        store.search(MODEL.probes[0], None, count)


@pytest.mark.parametrize("column", ["first_line", "last_line", "title", "text"])
def test_a_value_of_a_wrong_type_is_named(store: SqliteIndex, column: str) -> None:
    store.replace([document("/a", ["text"])])
    store.connection.execute(f"UPDATE chunks SET {column} = x'ff00'")
    with pytest.raises(IndexNotUsable, match="wrong type"):
        store.search(MODEL.probes[0], None, 5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_damage_is_an_error_of_the_contract_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "an.index"
    opened = STORES.open(str(path), MODEL)
    opened.replace([document(f"/{name}", ["some text", "other words"] * 20) for name in range(5)])
    opened.close()
    data, chance = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in chance.integers(0, len(data), 40):
        data[place] = int(chance.integers(0, 256))
    path.write_bytes(data[: len(data) - int(chance.choice([0, 1, 5000, 40_000]))])
    try:
        damaged = STORES.open(str(path))
    except KnifeError:
        return
    for use in (
        lambda: damaged.search(MODEL.probes[0], '"text" OR "word"', 10),
        lambda: damaged.replace([document("/1", ["new"])]),
        lambda: damaged.remove(["/2", "/3"]),
        damaged.digests,
        damaged.info,
    ):
        try:
            use()
        except KnifeError as error:
            assert isinstance(error, IndexNotUsable | StorageError), error  # noqa: PT017 - any of them may fail
    damaged.close()


def test_a_reader_goes_on_while_another_writes(store: SqliteIndex) -> None:
    store.replace([document("/a", ["one"])])
    reader = STORES.open(store.path)
    writer = sqlite3.connect(store.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM files")
    assert reader.digests() == {"/a": b"d"}
    writer.execute("ROLLBACK")
    writer.close()
    reader.close()


def test_a_writer_waits_for_another_and_gives_up_with_a_name(
    store: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.05)
    hasty = STORES.open(store.path)
    with pytest.raises(LocksPresent) as caught:
        hasty.replace([document("/a", ["one"])])
    assert caught.value.lock_files == (store.path,)
    hasty.close()
    timer = threading.Timer(0.2, lambda: blocker.execute("COMMIT"))
    timer.start()
    store.replace([document("/a", ["one"])])
    timer.join()
    blocker.close()
    assert store.digests() == {"/a": b"d"}


def test_two_writers_at_once_lose_nothing(store: SqliteIndex) -> None:
    def write(first: int) -> None:
        mine = STORES.open(store.path)
        for number in range(first, 20, 2):
            mine.replace([document(f"/{number}", ["text"] * 3)])
        mine.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.info().files, store.info().chunks) == (20, 60)
    assert len(store.search(MODEL.probes[0], None, 100).nearest) == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_index_is_searched_but_not_written(tmp_path: Path) -> None:
    path = tmp_path / "an.index"
    STORES.open(str(path), MODEL).close()
    path.chmod(0o400)
    opened = STORES.open(str(path))
    assert opened.search(MODEL.probes[0], '"x"', 5).nearest == ()
    with pytest.raises(AccessDenied):
        opened.replace([document("/a", ["one"])])
    opened.close()
