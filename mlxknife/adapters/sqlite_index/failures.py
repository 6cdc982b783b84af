"""The one mapping from errors of SQLite to the product's error tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import AccessDenied, IndexNotUsable, KnifeError, LocksPresent, StorageError
from mlxknife.domain.hints import HintCode

_PRIMARY = 0xFF
"""The bits of an extended code that are the code itself."""


class Damaged(Exception):
    """A value of the index is not what the program writes."""


@contextmanager
def map_sqlite_errors(path: str) -> Iterator[None]:
    """Raise the product's error for every error of SQLite, and for values that are damaged."""
    try:
        yield
    except Damaged as exc:
        raise _damaged(path, str(exc)) from exc
    except UnicodeDecodeError as exc:  # of a message of SQLite that quotes a damaged name
        msg = "a name is not UTF-8"
        raise _damaged(path, msg) from exc
    except sqlite3.Error as exc:
        raise _error(path, exc) from exc


def not_index(path: str, what: str) -> IndexNotUsable:
    """Return the error for a file that is something else."""
    return IndexNotUsable(f"{path} is {what}", hint=HintCode.OTHER_INDEX_FILE)


def _error(path: str, exc: sqlite3.Error) -> KnifeError:  # noqa: PLR0911 - one for each kind
    code: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own: a value has a wrong type
    match code & _PRIMARY:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LocksPresent(
                f"Another process uses the index {path}", lock_files=(path,), hint=HintCode.WAIT_FOR_LOCK
            )
        case sqlite3.SQLITE_NOTADB:
            return not_index(path, "not an index")
        case sqlite3.SQLITE_CORRUPT:
            return _damaged(path, str(exc))
        case sqlite3.SQLITE_FULL:
            return StorageError(f"The index {path} cannot be written: {exc}", hint=HintCode.FREE_DISK_SPACE)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return AccessDenied(f"The index {path} cannot be written: {exc}")
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_SCHEMA:
            return _damaged(path, str(exc))
        case _:
            return StorageError(f"The index {path} cannot be used: {exc}")


def _damaged(path: str, detail: str) -> IndexNotUsable:
    return IndexNotUsable(f"The index {path} is damaged: {detail}", hint=HintCode.NEW_INDEX)
