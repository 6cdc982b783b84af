"""What the Hub lists of a commit: which of it can be taken at its word, and which files of it are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from mlxknife.domain.errors import DownloadFailed, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.text.rules.display import is_unprintable
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile

_MAX_PART_BYTES = 255
_MAX_NAME_BYTES = 1024
_MAX_DEPTH = 32
_NAMED = 5
_MAX_SIZE = 2**50


def check(commit: RemoteCommit) -> None:
    """Raise DownloadFailed for a listing that cannot be stored as it is: nothing of it is touched then."""
    names = [file.name for file in commit.files]
    taken = set(names)
    for file in commit.files:
        if not is_plain_name(file.name):
            _refuse(commit, f"a file cannot be called {file.name!a}")
        if not 0 <= file.size <= _MAX_SIZE:
            _refuse(commit, f"a file cannot have {file.size} bytes: {file.name}")
        if not taken.isdisjoint(_folders(file.name)):
            _refuse(commit, f"a file and a folder have the same name: {file.name}")
    if len(taken) < len(names):
        _refuse(commit, "a file is listed twice")


def is_plain_name(name: str) -> bool:
    """Tell whether a file name leads to one place below its folder, on every filesystem that models are kept on."""
    parts = name.split("/")
    if len(parts) > _MAX_DEPTH or any(part in ("", ".", "..") or part.endswith((" ", ".")) for part in parts):
        return False
    if "\\" in name or any(map(is_unprintable, name)):
        return False
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    return max(sizes) <= _MAX_PART_BYTES and sum(sizes) <= _MAX_NAME_BYTES


def wanted(files: Iterable[RemoteFile], include: Sequence[str], exclude: Sequence[str]) -> tuple[RemoteFile, ...]:
    """Return the files that fit any pattern to include (all, without one) and none to exclude.

    ``*`` spans slashes, and a pattern that ends with a slash means everything in that folder, as with ``hf``.

    Raises ValidationError when patterns leave nothing.
    """
    files = tuple(files)
    chosen = tuple(
        file for file in files if (not include or _fits(file.name, include)) and not _fits(file.name, exclude)
    )
    if files and not chosen:
        msg = "No file fits --include and --exclude"
        names = [file.name for file in files[:_NAMED]] + (["..."] if len(files) > _NAMED else [])
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(names)))
    return chosen


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def _folders(name: str) -> Iterable[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _refuse(commit: RemoteCommit, why: str) -> None:
    msg = f"The Hub's listing of '{commit.name}' is refused: {why}"
    raise DownloadFailed(msg)
