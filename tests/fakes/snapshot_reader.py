"""Folders of model files in memory."""

from __future__ import annotations

import json
import posixpath
import struct
from collections.abc import Iterator, Mapping

import attrs

from mlxknife.adapters.folder import json_files
from mlxknife.domain.models.values.snapshot import (
    Document,
    FileFact,
    FileState,
    Location,
    ReadingList,
    SnapshotFacts,
    TensorEntry,
    WeightFormat,
    WeightHeader,
)

_LFS = b"version https://git-lfs"
_MAX_DEPTH = 100
_MAX_HOPS = 40
_GGUF_HEADER = 24


@attrs.frozen
class Link:
    """A symbolic link; ``{root}`` in the target is the root of the disk."""

    target: str


@attrs.frozen
class Locked:
    """A file that may not be opened."""

    data: bytes


@attrs.frozen
class Pipe:
    """A pipe, which would block a reader that opens it."""


Thing = bytes | Link | Locked | Pipe
Disk = Mapping[str, Thing]


@attrs.frozen
class FakeReader:
    """Implements ``SnapshotReader`` over a disk of absolute paths."""

    disk: Disk
    locked_folders: frozenset[str] = frozenset()

    def read(self, location: Location, reading_list: ReadingList) -> SnapshotFacts:
        root = location.token
        if root in self.locked_folders or not any(path.startswith(f"{root}/") for path in self.disk):
            return SnapshotFacts(problem="folder cannot be read")
        files: list[FileFact] = []
        documents: dict[str, Document] = {}
        weights: dict[str, WeightHeader] = {}
        for name in self._names(root):
            fact, data = self._follow(location, name)
            opens = name in reading_list.parse | reading_list.check | reading_list.tokenizers or name.endswith(
                reading_list.parse_suffixes + reading_list.weight_suffixes + reading_list.text_suffixes
            )
            if opens and isinstance(data, Locked):
                fact = attrs.evolve(fact, state=FileState.UNREADABLE)
            files.append(fact)
            if not isinstance(data, bytes):
                continue
            if name in reading_list.parse or name.endswith(reading_list.parse_suffixes):
                documents[name] = _document(data, keep=True)
            elif name in reading_list.check:
                documents[name] = _document(data, keep=False)
            elif name in reading_list.tokenizers:
                documents[name] = json_files.tokenizer(data)
            elif name.endswith(reading_list.text_suffixes):
                documents[name] = json_files.text(data)
            elif name.endswith(reading_list.weight_suffixes):
                weights[name] = _head(name, data)
        locked = any(folder.startswith(f"{root}/") for folder in self.locked_folders)
        return SnapshotFacts(tuple(files), documents, weights, "a folder cannot be read" if locked else None)

    def text(self, location: Location, name: str, limit: int) -> str | None:
        if name not in self._names(location.token):
            return None
        _, data = self._follow(location, name)
        if not isinstance(data, bytes):
            return None
        try:
            return data[:limit].decode()
        except UnicodeDecodeError as exc:
            is_cut = exc.reason == "unexpected end of data" and len(data) > limit
            return data[: exc.start].decode() if is_cut else None

    def _names(self, root: str) -> Iterator[str]:
        for path in sorted(self.disk):
            name = path.removeprefix(f"{root}/")
            folders = name.split("/")[:-1]
            if name != path and not any(folder.startswith(".") for folder in folders):
                yield name

    def _follow(self, location: Location, name: str) -> tuple[FileFact, Thing | None]:
        path, blob = f"{location.token}/{name}", None
        for hop in range(_MAX_HOPS):
            thing = self.disk.get(path)
            if thing is None:
                is_folder = any(other.startswith(f"{path}/") for other in self.disk)
                state = FileState.IRREGULAR if is_folder else FileState.DANGLING
                return FileFact(name, 0, state, blob, None), None
            if isinstance(thing, Pipe):
                return FileFact(name, 0, FileState.IRREGULAR, blob, self._identity(path)), None
            if not isinstance(thing, Link):
                data = thing.data if isinstance(thing, Locked) else thing
                return FileFact(name, len(data), FileState.OK, blob, self._identity(path)), thing
            target = thing.target.replace("{root}", "")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if hop == 0 and path.startswith(f"{location.bounds[0]}/"):
                blob = posixpath.basename(target)
            if not any(path.startswith(f"{bound}/") for bound in location.bounds):
                return FileFact(name, 0, FileState.ESCAPING, blob, None), None
        return FileFact(name, 0, FileState.LOOP, blob, None), None

    def _identity(self, path: str) -> tuple[int, int]:
        return (0, sorted(self.disk).index(path))


def _document(data: bytes, *, keep: bool) -> Document:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Document(problem="is not UTF-8")
    if not data or data.startswith(_LFS):
        return Document(problem="is a Git LFS pointer, not the file" if data else "is empty")
    try:
        value = json.loads(text) if keep else json.loads(text, parse_constant=int)
    except RecursionError:
        return Document(problem="is nested too deeply")
    except ValueError:
        return Document(problem="is not valid JSON")
    if keep:
        is_deep = _depth(value) > _MAX_DEPTH
        return Document(problem="is nested too deeply") if is_deep else Document(value=value)
    return Document(problem=None if isinstance(value, dict) else "is not a JSON object")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _head(name: str, data: bytes) -> WeightHeader:
    if data.startswith(_LFS):
        return WeightHeader(WeightFormat.LFS_POINTER)
    if name.endswith(".safetensors"):
        return _safetensors(data) if data else WeightHeader(WeightFormat.OTHER)
    if name.endswith(".gguf") or data.startswith(b"GGUF"):
        is_one = not data or (data.startswith(b"GGUF") and len(data) >= _GGUF_HEADER)
        return WeightHeader(WeightFormat.GGUF, problem=None if is_one else "not a GGUF file")
    if data.startswith(b"PK\x03\x04"):
        return WeightHeader(WeightFormat.TORCH, problem=None if b"PK\x05\x06" in data else "no end")
    is_torch = posixpath.basename(name).startswith("pytorch_model")
    is_odd = is_torch and data and not data.startswith(b"\x80")
    return WeightHeader(WeightFormat.OTHER, problem="not a PyTorch file" if is_odd else None)


def _safetensors(data: bytes) -> WeightHeader:
    try:
        (length,) = struct.unpack_from("<Q", data)
        if 8 + length > len(data):
            return WeightHeader(WeightFormat.SAFETENSORS, problem="too short")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        tensors = {
            name: TensorEntry(entry["dtype"], tuple(entry["shape"]), tuple(entry["data_offsets"]))
            for name, entry in header.items()
        }
    except (struct.error, ValueError, TypeError, KeyError, AttributeError):
        return WeightHeader(WeightFormat.SAFETENSORS, problem="no header")
    return WeightHeader(WeightFormat.SAFETENSORS, data_size=len(data) - 8 - length, tensors=tensors, metadata=metadata)
