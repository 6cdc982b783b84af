"""Listings of the Hub: which ones are safe to store, and which of their files a pull selects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from mlxknife.domain.errors import DownloadFailed, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.names.rules.naming import is_repo_id
from mlxknife.domain.text.rules.display import is_unprintable
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile

_MAX_PART_BYTES = 255
_MAX_NAME_BYTES = 1024
_MAX_DEPTH = 32
_MAX_LISTED = 5
_MAX_SIZE = 2**50


def search_texts(name: str) -> tuple[str, ...]:
    """Return what to search the Hub for when it does not have a model: its last part, then the first word of that."""
    last = name.rpartition("/")[2]
    return tuple(dict.fromkeys((last, re.split(r"[-_.]", last)[0])))


def similar_models(found: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the valid names among those that a search found, without duplicates and ``name`` itself."""
    return tuple(dict.fromkeys(one for one in found if is_repo_id(one) and one != name))


def check_listing(commit: RemoteCommit) -> None:
    """Raise DownloadFailed for a listing with a name or size that cannot be stored safely."""
    names = [file.name for file in commit.files]
    taken = set(names)
    for file in commit.files:
        if not is_plain_name(file.name):
            _refuse(commit, f"{file.name!a} is not a valid file name")
        if not 0 <= file.size <= _MAX_SIZE:
            _refuse(commit, f"a file cannot have {file.size} bytes: {file.name}")
        if not taken.isdisjoint(_folders(file.name)):
            _refuse(commit, f"a file and a folder have the same name: {file.name}")
    if len(taken) < len(names):
        _refuse(commit, "a file is listed twice")


def is_plain_name(name: str) -> bool:
    """Return whether a name is a relative path that stays below its folder on every filesystem."""
    parts = name.split("/")
    if len(parts) > _MAX_DEPTH or any(part in ("", ".", "..") or part.endswith((" ", ".")) for part in parts):
        return False
    if "\\" in name or any(map(is_unprintable, name)):
        return False
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    return max(sizes) <= _MAX_PART_BYTES and sum(sizes) <= _MAX_NAME_BYTES


def select_files(files: Iterable[RemoteFile], include: Sequence[str], exclude: Sequence[str]) -> tuple[RemoteFile, ...]:
    """Return the files that match any ``include`` pattern (all files without one) and no ``exclude`` pattern.

    ``*`` matches slashes, and a pattern that ends with a slash matches everything in that folder, as with ``hf``.

    Raises ValidationError when no file is left.
    """
    files = tuple(files)
    selected = tuple(
        file for file in files if (not include or _matches(file.name, include)) and not _matches(file.name, exclude)
    )
    if files and not selected:
        msg = "No file matches the patterns to include and exclude"
        names = [file.name for file in files[:_MAX_LISTED]] + (["..."] if len(files) > _MAX_LISTED else [])
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(names)))
    return selected


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def _folders(name: str) -> Iterable[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _refuse(commit: RemoteCommit, why: str) -> None:
    msg = f"The Hub's listing of '{commit.name}' is refused: {why}"
    raise DownloadFailed(msg)
