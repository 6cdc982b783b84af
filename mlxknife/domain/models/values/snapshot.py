"""Facts about the files of one model folder. The rules judge them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property

import attrs

JsonObject = Mapping[str, object]


@attrs.frozen
class Location:
    """A model folder: a store returns it, an adapter opens it, and nothing between interprets it.

    Links below ``token`` may lead only into ``bounds``.
    """

    token: str
    bounds: tuple[str, ...]


class FileState(Enum):
    """The outcome of resolving a file name, links included."""

    OK = "ok"
    DANGLING = "dangling link"
    LOOP = "link loop"
    ESCAPING = "link leading outside the model"
    IRREGULAR = "not a regular file"
    UNREADABLE = "unreadable"


@attrs.frozen
class FileFact:
    """One file of a snapshot, by its relative name. ``blob`` is the blob that its link points to."""

    name: str
    size: int
    state: FileState
    blob: str | None
    identity: tuple[int, int] | None
    """Device and inode, so that a blob with two names counts once."""
    changed: int | None = None
    """The ctime in nanoseconds, where it is known."""


@attrs.frozen
class Document:
    """A JSON file: its value, or why it is invalid. A file that was only validated has the value None."""

    value: object = None
    problem: str | None = None


@attrs.frozen
class TensorEntry:
    """One tensor as a safetensors header declares it."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class WeightFormat(Enum):
    """The format of a weight file, by its first and last bytes."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    TORCH = "torch"
    OTHER = "other"
    LFS_POINTER = "Git LFS pointer"


@attrs.frozen
class WeightHeader:
    """The header of a weight file: everything but the weights."""

    format: WeightFormat
    problem: str | None = None
    data_size: int = 0
    """The number of bytes after the header."""
    tensors: Mapping[str, TensorEntry] = attrs.field(factory=dict)
    metadata: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class ReadingList:
    """The files that a snapshot reader opens; of the others it only reads the names."""

    parse: frozenset[str]
    """JSON files to parse."""
    check: frozenset[str]
    """JSON files, often large, to validate only."""
    tokenizers: frozenset[str]
    """JSON files from which a tokenizer is read; they are only validated, too."""
    text_suffixes: tuple[str, ...]
    """Text files to validate only."""
    parse_suffixes: tuple[str, ...]
    weight_suffixes: tuple[str, ...]
    """Large files whose format the first bytes show."""


@attrs.frozen
class SnapshotFacts:
    """The facts that one pass over a model folder found."""

    files: tuple[FileFact, ...] = ()
    documents: Mapping[str, Document] = attrs.field(factory=dict)
    weights: Mapping[str, WeightHeader] = attrs.field(factory=dict)
    problem: str | None = None
    """Why the folder, or a part of it, could not be read."""

    def names(self) -> frozenset[str]:
        """Return the names of all files, readable or not."""
        return self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset([file.name for file in self.files])

    def json_object(self, name: str) -> JsonObject:
        """Return the object in a JSON file; an empty one when it is missing, damaged or not an object."""
        document = self.documents.get(name)
        return document.value if document is not None and isinstance(document.value, Mapping) else {}

    def size_bytes(self) -> int:
        """Return the bytes of all files, each blob counted once."""
        return sum({file.identity: file.size for file in self.files if file.identity is not None}.values())
