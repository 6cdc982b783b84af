"""Files below a path: hidden, ignored, binary and special ones are skipped, and no link is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256

import attrs

from mlxknife.adapters.documents.ignoring import IgnoreRules
from mlxknife.adapters.documents.pdf import PdfReader, PdfUnreadable
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.retrieval.values import Document, FoundFile, SkippedFile, SkipReason

MAX_BYTES = 4_000_000
"""A longer text is data rather than a document."""
MAX_PDF_BYTES = 100_000_000
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PDF = ".pdf"
_ATTEMPTS = 2


@attrs.frozen
class DiskFiles:
    """Implements ``DocumentFiles``."""

    pdf: PdfReader

    def root(self, path: str) -> str:
        """See ``DocumentFiles.root``."""
        with map_filesystem_errors(path):
            return os.path.realpath(path, strict=True)

    def is_below(self, path: str, root: str) -> bool:
        """See ``DocumentFiles.is_below``."""
        return path == root or path.startswith(os.path.join(root, ""))

    def find(self, root: str) -> Iterator[FoundFile | SkippedFile]:
        """See ``DocumentFiles.find``."""
        try:
            mode = os.stat(root, follow_symlinks=False)
        except OSError as exc:
            yield _unreadable(root, exc)
            return
        if not stat.S_ISDIR(mode.st_mode):
            yield _classified(root, mode)
            return
        folders = [(root, IgnoreRules.above(root))]
        while folders:
            folder, rules = folders.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as exc:
                yield _unreadable(folder, exc)
                continue
            rules = rules.within(folder)
            below = list[tuple[str, IgnoreRules]]()
            for entry in entries:
                found = _entry(entry, rules)
                if found is None:
                    below.append((entry.path, rules))
                else:
                    yield found
            folders += reversed(below)

    def read(self, path: str) -> Document | SkippedFile:
        """See ``DocumentFiles.read``."""
        is_pdf = path.lower().endswith(_PDF)
        try:
            data = _content(path, MAX_PDF_BYTES if is_pdf else MAX_BYTES)
        except OSError as exc:
            return _unreadable(path, exc)
        if isinstance(data, SkipReason):
            return SkippedFile(path, data)
        if is_pdf:
            return self._read_pdf(path, data)
        if b"\0" in data:
            return SkippedFile(path, SkipReason.BINARY)
        try:
            return Document(path, sha256(data).digest(), data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            return SkippedFile(path, SkipReason.NOT_UTF8)

    def _read_pdf(self, path: str, data: bytes) -> Document | SkippedFile:
        try:
            pages = self.pdf.pages(data)
        except PdfUnreadable as exc:
            return SkippedFile(path, SkipReason.PDF, str(exc))
        counts = tuple(page.count("\n") + 1 for page in pages)
        return Document(path, sha256(data).digest(), "\n".join(pages), counts)


def _entry(entry: os.DirEntry[str], rules: IgnoreRules) -> FoundFile | SkippedFile | None:
    """Return what an entry of a folder is; None for a folder that is to be read."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as exc:
        return _unreadable(entry.path, exc)
    is_folder = stat.S_ISDIR(found.st_mode)
    if entry.name.startswith("."):
        return SkippedFile(entry.path, SkipReason.HIDDEN)
    if rules.excludes(entry.path, is_folder=is_folder):
        return SkippedFile(entry.path, SkipReason.IGNORED)
    return None if is_folder else _classified(entry.path, found)


def _classified(path: str, found: os.stat_result) -> FoundFile | SkippedFile:
    if stat.S_ISLNK(found.st_mode):
        return SkippedFile(path, SkipReason.LINK)
    if not stat.S_ISREG(found.st_mode):
        return SkippedFile(path, SkipReason.SPECIAL)
    return FoundFile(path, found.st_size)


def _content(path: str, limit: int) -> bytes | SkipReason:
    """Return the bytes of a regular file that does not change meanwhile. Raises OSError."""
    for _ in range(_ATTEMPTS):
        handle = os.open(path, _FLAGS)
        with open(handle, "rb", buffering=0) as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                return SkipReason.SPECIAL
            if before.st_size > limit:
                return SkipReason.TOO_LARGE
            data = _read(file.fileno(), limit)
            after = os.fstat(handle)
        if len(data) > limit:
            return SkipReason.TOO_LARGE
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return data
    return SkipReason.CHANGING


def _read(handle: int, limit: int) -> bytes:
    chunks, left = list[bytes](), limit + 1
    while left > 0 and (chunk := os.read(handle, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _unreadable(path: str, exc: OSError) -> SkippedFile:
    if exc.errno == errno.ELOOP:  # it has become a link
        return SkippedFile(path, SkipReason.LINK)
    return SkippedFile(path, SkipReason.UNREADABLE, exc.strerror or str(exc))
