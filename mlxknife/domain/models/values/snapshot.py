"""Facts about one folder of model files, as they were found. Judging them is the rules' work."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

JsonObject = Mapping[str, object]


@attrs.frozen
class Location:
    """A place that a store names and an adapter opens; for everyone between it is opaque.

    ``bounds`` are the only places that links below ``token`` may lead to.
    """

    token: str
    bounds: tuple[str, ...]


class FileState(Enum):
    """What became of following a name to its bytes."""

    OK = "ok"
    DANGLING = "dangling link"
    LOOP = "link loop"
    ESCAPING = "link leading outside the model"
    IRREGULAR = "not a regular file"
    UNREADABLE = "unreadable"


@attrs.frozen
class FileFact:
    """One file of a snapshot, by its relative name. ``blob`` is the name in the repo that its first link leads to."""

    name: str
    size: int
    state: FileState
    blob: str | None
    identity: tuple[int, int] | None
    """Device and inode, so that a blob with two names is counted once."""
    changed: int | None = None
    """When it was last written to or renamed, in nanoseconds, where that is known."""


@attrs.frozen
class Document:
    """A JSON file: its value, or the reason why it has none. A file that was only checked has the value None."""

    value: object = None
    problem: str | None = None


@attrs.frozen
class TensorEntry:
    """One tensor as a safetensors header declares it."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class WeightFormat(Enum):
    """What the first and last bytes of a weight file say that it is."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    TORCH = "torch"
    OTHER = "other"
    LFS_POINTER = "Git LFS pointer"


@attrs.frozen
class WeightHeader:
    """The part of a weight file that can be read without reading the weights."""

    format: WeightFormat
    problem: str | None = None
    data_size: int = 0
    """Bytes behind the header."""
    tensors: Mapping[str, TensorEntry] = attrs.field(factory=dict)
    metadata: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class ReadingList:
    """What a reader is to open besides looking at every name."""

    parse: frozenset[str]
    """JSON files whose value is wanted."""
    check: frozenset[str]
    """JSON files, often large, that only have to be valid."""
    parse_suffixes: tuple[str, ...]
    weight_suffixes: tuple[str, ...]
    """Large files whose first bytes tell what they are."""


@attrs.frozen
class SnapshotFacts:
    """Everything that one pass over a model's folder told."""

    files: tuple[FileFact, ...] = ()
    documents: Mapping[str, Document] = attrs.field(factory=dict)
    weights: Mapping[str, WeightHeader] = attrs.field(factory=dict)
    problem: str | None = None
    """Why the folder, or a part of it, could not be looked at."""

    def names(self) -> frozenset[str]:
        """Return the names of all files, whatever state they are in."""
        return frozenset(file.name for file in self.files)

    def json_object(self, name: str) -> JsonObject:
        """Return the object in a JSON file; empty when it is missing, damaged or something else."""
        document = self.documents.get(name)
        return document.value if document is not None and isinstance(document.value, Mapping) else {}

    def size_bytes(self) -> int:
        """Return the bytes of all files, each blob counted once."""
        return sum({file.identity: file.size for file in self.files if file.identity is not None}.values())
