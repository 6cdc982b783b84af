"""The GGUF header parser. It checks every declared count, length and offset against limits and against the file size.

A header is a list of metadata values and a list of tensor infos; the tensor data follows. No other library reads a file
before these checks pass, and no declared number alone decides how much memory is allocated.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import BinaryIO

import attrs

from mlxknife.adapters.gguf import ggml_types
from mlxknife.adapters.gguf.ggml_types import GgmlType
from mlxknife.domain.errors import ValidationError

Value = bool | int | float | str | tuple[bool | int | float | str, ...]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_HEADER = 256 * 1024 * 1024
_MAX_VALUES = 100_000
_MAX_TENSORS = 100_000
_MAX_ELEMENTS = 4_000_000
"""The limit for the elements of all arrays together. The largest vocabularies with their merges need a third of it."""
_MAX_NAME = 1024
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT = "general.alignment"

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class InvalidGguf(ValidationError):
    """The file is not a GGUF file, or it is damaged."""

    def __init__(self, problem: str) -> None:
        """Take what is wrong with the file."""
        super().__init__(f"Not a valid GGUF file: {problem}")


@attrs.frozen
class TensorInfo:
    """One tensor. ``shape`` lists rows first, unlike GGUF; ``offset`` counts from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int

    @property
    def size_bytes(self) -> int:
        """The number of bytes that the tensor takes in the file."""
        return math.prod(self.shape) // self.type.block_size * self.type.type_size


@attrs.frozen
class GgufHeader:
    """A checked header: every tensor lies inside the file."""

    values: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]


def read(file: BinaryIO, size: int) -> GgufHeader:
    """Return the header of an open file of ``size`` bytes. Raises InvalidGguf, OSError."""
    reader = _Reader(file, min(size, _MAX_HEADER))
    if reader.take(4) != _MAGIC:
        msg = "it does not begin with GGUF"
        raise InvalidGguf(msg)
    version = reader.integer("I")
    if version not in _VERSIONS:
        is_swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        msg = "its numbers are big-endian" if is_swapped else f"version {version} is not supported"
        raise InvalidGguf(msg)
    tensor_count = reader.count(_MAX_TENSORS, "tensors")
    value_count = reader.count(_MAX_VALUES, "metadata values")
    values: dict[str, Value] = {}
    for _ in range(value_count):
        key = reader.string(_MAX_NAME)
        if key in values:
            msg = f"it has two metadata values {key!a}"
            raise InvalidGguf(msg)
        values[key] = reader.value()
    infos = [_tensor_info(reader) for _ in range(tensor_count)]
    return GgufHeader(values, _located(infos, reader.position, _alignment(values), size))


class _Reader:
    """Reads the fields of a header in order, and never past its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._elements = _MAX_ELEMENTS
        self.position = 0

    def take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            msg = "its header is cut off, or too long"
            raise InvalidGguf(msg)
        self._left -= count
        self.position += count
        return data

    def integer(self, code: str) -> int:
        (found,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(found)

    def count(self, limit: int, what: str) -> int:
        """Return how many elements follow; ``what`` names them in the error."""
        found = self.integer("Q")
        if found > limit:
            msg = f"it declares {found} {what}, more than the limit of {limit}"
            raise InvalidGguf(msg)
        return found

    def string(self, limit: int = _MAX_HEADER) -> str:
        data = self.take(self.count(limit, "bytes in one string"))
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            msg = "a string is not UTF-8"
            raise InvalidGguf(msg) from exc

    def value(self) -> Value:
        """Return a metadata value; its type id comes first."""
        type_id = self.integer("I")
        if type_id == _STRING:
            return self.string()
        if type_id == _ARRAY:
            return self._array()
        return self._numbers(type_id, 1)[0]

    def _array(self) -> tuple[bool | int | float | str, ...]:
        type_id = self.integer("I")
        count = self.count(self._elements, "array elements")
        self._elements -= count
        if type_id == _STRING:
            return tuple([self.string() for _ in range(count)])
        return self._numbers(type_id, count)

    def _numbers(self, type_id: int, count: int) -> tuple[bool | int | float, ...]:
        code = _NUMBERS.get(type_id)
        if code is None:
            msg = f"a metadata value has the unknown type {type_id}"
            raise InvalidGguf(msg)
        data = self.take(struct.calcsize(f"<{code}") * count)
        return struct.unpack(f"<{count}{code}", data)


def _tensor_info(reader: _Reader) -> TensorInfo:
    """Read one tensor info; its offset still counts from the start of the tensor data."""
    name = reader.string(_MAX_NAME)
    dimensions = reader.integer("I")
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        msg = f"tensor {name!a} has {dimensions} dimensions"
        raise InvalidGguf(msg)
    shape = tuple(reversed([reader.integer("Q") for _ in range(dimensions)]))
    type_id = reader.integer("I")
    ggml_type = ggml_types.from_id(type_id)
    if ggml_type is None:
        msg = f"tensor {name!a} has the unknown type {type_id}"
        raise InvalidGguf(msg)
    if 0 in shape or shape[-1] % ggml_type.block_size:
        msg = f"tensor {name!a} cannot be {ggml_type.name} with the shape {list(shape)}"
        raise InvalidGguf(msg)
    return TensorInfo(name, shape, ggml_type, reader.integer("Q"))


def _alignment(values: Mapping[str, Value]) -> int:
    found = values.get(_ALIGNMENT, _DEFAULT_ALIGNMENT)
    if not isinstance(found, int) or not 0 < found <= _MAX_ALIGNMENT:
        msg = f"its {_ALIGNMENT} is out of range"
        raise InvalidGguf(msg)
    return found


def _located(infos: list[TensorInfo], header_bytes: int, alignment: int, size: int) -> dict[str, TensorInfo]:
    """Return the tensors with offsets in the file: each lies inside the file, and no two overlap."""
    start = -(-header_bytes // alignment) * alignment
    located: dict[str, TensorInfo] = {}
    end = start
    for tensor in sorted(infos, key=lambda tensor: tensor.offset):
        offset = start + tensor.offset
        if tensor.name in located:
            msg = f"it has two tensors {tensor.name!a}"
            raise InvalidGguf(msg)
        if offset < end:
            msg = f"tensor {tensor.name!a} overlaps another one"
            raise InvalidGguf(msg)
        end = offset + tensor.size_bytes
        if end > size:
            msg = f"tensor {tensor.name!a} is cut off"
            raise InvalidGguf(msg)
        located[tensor.name] = attrs.evolve(tensor, offset=offset)
    return located
