"""Trash items: one folder each, with a note, what was removed as ``content``, and the ``blobs`` that only it needed."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator

from mlxknife.adapters.hfcache import safe_files
from mlxknife.adapters.hfcache.layout import BLOBS, REPO_PREFIX
from mlxknife.adapters.hfcache.locks import try_lock
from mlxknife.domain.removal.values import TrashItem

NOTE = "note.json"
CONTENT = "content"

_MAX_NOTE = 64 * 1024


@contextlib.contextmanager
def locked(item: str) -> Iterator[bool]:
    """Lock a trash item against other removals, without waiting; give whether it is locked. Raises OSError."""
    try:
        handle = os.open(item, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)


def has_content(item: str) -> bool:
    """Return whether an item holds anything: without content its removal never began."""
    return any(os.path.lexists(f"{item}/{part}") for part in (CONTENT, BLOBS))


def _note(item: str) -> dict[str, object]:
    """Return the note of an item; empty where there is none that can be read."""
    try:
        note = json.loads(safe_files.read_small(f"{item}/{NOTE}", _MAX_NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def origin(item: str) -> tuple[str | None, str | None]:
    """Return the repo folder and the commit in the note; (None, None) where they are no plain names."""
    note = _note(item)
    folder, commit = note.get("folder"), note.get("commit")
    if not isinstance(folder, str) or not isinstance(commit, str) or not {"/", "\0"}.isdisjoint(folder + commit):
        return None, None
    return (folder, commit) if folder.startswith(REPO_PREFIX) else (None, None)


def describe(item: str) -> TrashItem:
    """Return what an item is and how large. Raises nothing."""
    size = _size(f"{item}/{CONTENT}") + _size(f"{item}/{BLOBS}")
    return TrashItem(token=os.path.basename(item), label=_label(item), size_bytes=size)


def _label(item: str) -> str:
    label = _note(item).get("label")
    return label if isinstance(label, str) else "unknown"


def size_without_links(path: str) -> int:
    """Return the size of a folder; 0 where the path to it contains a link."""
    return _size(path) if os.path.realpath(path) == path else 0


def _skip(exc: OSError) -> None:
    """Count nothing for a folder that cannot be listed."""
    del exc


def _size(path: str) -> int:
    """Return the bytes of the regular files below a folder; links are not followed and count nothing."""
    total = 0
    for folder, names in safe_files.walk(path, _skip):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(f"{folder}/{name}")
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
