"""Reading a model's folder: one walk, one stat of every file, one read of each file on the reading list."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator

from mlxknife.adapters.folder import json_files, weights
from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.folder.links import LinkResolver, state_of
from mlxknife.adapters.folder.safe_open import read_file
from mlxknife.domain.models.values.snapshot import (
    Document,
    FileFact,
    FileState,
    Location,
    ReadingList,
    SnapshotFacts,
    WeightHeader,
)

_MAX_DEPTH = 16
_MAX_FILES = 100_000
_HIDDEN = "."


class FolderReader:
    """Reads facts from folders of model files. Implements ``SnapshotReader``."""

    def read(self, location: Location, reading_list: ReadingList) -> SnapshotFacts:
        """See ``SnapshotReader.read``."""
        return _Scan(location, reading_list).facts()

    def text(self, location: Location, name: str, limit: int) -> str | None:
        """See ``SnapshotReader.text``."""
        found = LinkResolver(location).resolve(name)
        if found.state is not FileState.OK:
            return None
        try:
            data = read_file(found.path, limit)
        except OSError:
            return None
        decoder = codecs.getincrementaldecoder("utf-8")()  # the limit may cut a character in two
        try:
            return decoder.decode(data, final=len(data) < limit)
        except UnicodeDecodeError:
            return None


class _Scan:
    """One scan of one location."""

    def __init__(self, location: Location, reading_list: ReadingList) -> None:
        self._location = location
        self._reading_list = reading_list
        self._links = LinkResolver(location)
        self._documents: dict[str, Document] = {}
        self._weights: dict[str, WeightHeader] = {}
        self._problem: str | None = None
        self._budget = ReadingBudget()

    def facts(self) -> SnapshotFacts:
        files = tuple(self._walk())
        return SnapshotFacts(
            files=files,
            documents=self._documents,
            weights=self._weights,
            problem=self._problem,
        )

    def _walk(self) -> Iterator[FileFact]:
        pending = [(self._location.token, "", 0)]
        seen = 0
        while pending:
            folder, prefix, depth = pending.pop()
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=_name)
            except OSError as exc:
                self._problem = f"{prefix.rstrip('/') or 'folder'} cannot be read: {exc.strerror}"
                continue
            for entry in entries:
                seen += 1
                if seen > _MAX_FILES or depth > _MAX_DEPTH:
                    self._problem = "too many files or folders to be one model"
                    return
                if not entry.is_dir(follow_symlinks=False):
                    yield self._fact(prefix + entry.name, folder, entry)
                elif not entry.name.startswith(_HIDDEN):
                    pending.append((entry.path, f"{prefix}{entry.name}/", depth + 1))

    def _fact(self, name: str, folder: str, entry: os.DirEntry[str]) -> FileFact:
        found = self._links.resolve_in(folder, entry.name, is_link=entry.is_symlink())
        status, state = found.status, found.state
        if status is None or state is not FileState.OK:
            return FileFact(name, 0, state, found.blob, None)
        try:
            self._read(name, found.path, status.st_size)
        except OSError as exc:
            state = state_of(exc)
        return FileFact(name, status.st_size, state, found.blob, (status.st_dev, status.st_ino), status.st_ctime_ns)

    def _read(self, name: str, path: str, size: int) -> None:
        reader = self._json_reader(name)
        if reader is not None:
            budget = self._budget
            self._documents[name] = reader(path, size, budget) if size <= budget.bytes_left else json_files.TOO_LARGE
            budget.bytes_left -= min(size, budget.bytes_left)
        elif name.endswith(self._reading_list.weight_suffixes):
            self._weights[name] = weights.read_head(name, path, size, self._budget)

    def _json_reader(self, name: str) -> Callable[[str, int, ReadingBudget], Document] | None:
        """Return what reads a file of this name, or None for a file that is no JSON or text to read."""
        to_read = self._reading_list
        if name in to_read.parse:
            return json_files.parse
        if name in to_read.check:
            return json_files.check
        if name in to_read.tokenizers:
            return json_files.check_tokenizer
        if name.endswith(to_read.parse_suffixes):
            return json_files.parse_index
        return json_files.check_text if name.endswith(to_read.text_suffixes) else None


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
