"""The tables of an index, and the checks of a file that is to be one."""

from __future__ import annotations

import os
import sqlite3
import stat
from array import array
from urllib.parse import quote

from mlxknife.adapters.sqlite_index.failures import map_sqlite_errors, not_index
from mlxknife.domain.errors import StorageError
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.retrieval.values import IndexModel

APPLICATION_ID = 0x6D6C786B
"""Stands in the header of the file, so that ``file`` and this program know what it is."""
VERSION = 1
BUSY_SECONDS = 20.0
_PAGE_SIZE = 16_384
"""Segments are read in long runs, for which SQLite's 4,096 bytes are slow."""
_TABLES = (
    "CREATE TABLE model (name TEXT NOT NULL, revision TEXT, dimensions INTEGER NOT NULL, probes BLOB NOT NULL)",
    "CREATE TABLE roots (path BLOB PRIMARY KEY NOT NULL)",
    "CREATE TABLE files (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, digest BLOB NOT NULL)",
    """CREATE TABLE chunks (
        id INTEGER PRIMARY KEY, file INTEGER NOT NULL, segment INTEGER NOT NULL, first_line INTEGER NOT NULL,
        last_line INTEGER NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL)""",
    "CREATE INDEX chunks_of_files ON chunks (file)",
    "CREATE TABLE vectors (chunk INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
    "CREATE TABLE segments (id INTEGER PRIMARY KEY, keys BLOB NOT NULL, codes BLOB NOT NULL, scales BLOB NOT NULL)",
    """CREATE VIRTUAL TABLE words USING fts5(
        title, text, content='chunks', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')""",
)
"""An index has exactly these. ``probes`` has the vectors of a fixed text, as a document and as a query."""


def is_file(path: str) -> bool:
    """Whether there is a file that is not empty. Raises IndexNotUsable for what is no file, StorageError."""
    with map_filesystem_errors(path):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
    if not stat.S_ISREG(found.st_mode):
        raise not_index(path, "not a file")
    return found.st_size > 0


def connected(path: str) -> sqlite3.Connection:
    """Open a file that exists. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=rw",
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    try:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def create_file(path: str) -> None:
    """Make an empty file that only its owner can read, unless there is a file. Raises StorageError."""
    with map_filesystem_errors(path):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether a database has no tables and no marks, as one whose creation was interrupted. Raises sqlite3.Error."""
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    return not count and not any(marks)


def create_tables(connection: sqlite3.Connection, model: IndexModel) -> None:
    """Make the tables in one transaction, unless another process has just done it. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if not is_empty(connection):
            return
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        for statement in _TABLES:
            connection.execute(statement)
        probes = b"".join(array("f", probe).tobytes() for probe in model.probes)
        row = (model.name, model.revision, model.dimensions, probes)
        connection.execute("INSERT INTO model VALUES (?, ?, ?, ?)", row)


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raise IndexNotUsable unless the tables are those of an index, StorageError where there are none."""
    with map_sqlite_errors(path):
        if is_empty(connection):
            raise missing(path)
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise not_index(path, "a SQLite file of another program")
        if version != VERSION:
            raise not_index(path, f"an index of another version: {version}, and this program reads {VERSION}")
        found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'words_%'")}
        if found - {None} != set(_TABLES):
            raise not_index(path, "not an index: its tables are different")


def missing(path: str) -> StorageError:
    """Return the error for an index that does not exist."""
    return StorageError(f"There is no index at {path}", hint=Hint(HintCode.MAKE_INDEX))
