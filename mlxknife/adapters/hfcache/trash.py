"""Trash items: one folder each, with a note, the thing as ``content``, and the ``blobs`` that only it needed."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator

from mlxknife.adapters.hfcache import safe_files
from mlxknife.adapters.hfcache.layout import BLOBS, REPO_PREFIX
from mlxknife.adapters.hfcache.locks import take
from mlxknife.domain.removal.values import TrashItem

NOTE = "note.json"
CONTENT = "content"

_MAX_NOTE = 64 * 1024


@contextlib.contextmanager
def claimed(item: str) -> Iterator[bool]:
    """Hold a trash item against other removals; tell whether it is held, and still there. Raises OSError."""
    try:
        handle = os.open(item, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield take(handle)
    finally:
        os.close(handle)


def has_begun(item: str) -> bool:
    """Tell whether an item holds anything: without that its removal never began."""
    return any(os.path.lexists(f"{item}/{part}") for part in (CONTENT, BLOBS))


def _note(item: str) -> dict[str, object]:
    """Return the note of an item; an empty one where there is none that can be read."""
    try:
        handle = os.open(f"{item}/{NOTE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            note = json.loads(file.read(_MAX_NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def origin(item: str) -> tuple[str | None, str | None]:
    """Return the repo folder and commit that a note names, where it names plain names."""
    note = _note(item)
    folder, commit = note.get("folder"), note.get("commit")
    if not isinstance(folder, str) or not isinstance(commit, str) or not {"/", "\0"}.isdisjoint(folder + commit):
        return None, None
    return (folder, commit) if folder.startswith(REPO_PREFIX) else (None, None)


def describe(item: str) -> TrashItem:
    """Return what an item is, for those who look at the trash."""
    size = _size(f"{item}/{CONTENT}") + _size(f"{item}/{BLOBS}")
    return TrashItem(token=os.path.basename(item), label=_label(item), size_bytes=size)


def _label(item: str) -> str:
    label = _note(item).get("label")
    return label if isinstance(label, str) else "unknown"


def own_size(path: str) -> int:
    """Return the size of a folder that is reached without any link, else nothing."""
    return _size(path) if os.path.realpath(path) == path else 0


def _pass_over(exc: OSError) -> None:
    """Count nothing where nothing can be seen."""
    del exc


def _size(path: str) -> int:
    """Return the bytes of the plain files below a folder; what links lead to is counted where it stands."""
    total = 0
    for folder, names in safe_files.walk(path, _pass_over):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(f"{folder}/{name}")
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
