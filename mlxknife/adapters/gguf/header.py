"""GGUF headers, read with bounds: nothing that a file declares is believed before it fits into the file.

A header is a list of named values and a list of tensors; the numbers of the tensors follow it. No library sees a file
before all of this holds, and none of its numbers decides alone how much memory is taken.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import BinaryIO

import attrs

from mlxknife.adapters.gguf import forms
from mlxknife.adapters.gguf.forms import Form
from mlxknife.domain.errors import ValidationError

Value = bool | int | float | str | tuple[bool | int | float | str, ...]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_HEADER = 256 * 1024 * 1024
_MAX_VALUES = 100_000
_MAX_TENSORS = 100_000
_MAX_ELEMENTS = 4_000_000
"""How many elements all lists together may have; the largest vocabularies with their merges have a third."""
_MAX_NAME = 1024
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT = "general.alignment"

_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class NotValid(ValidationError):
    """A file that is no GGUF file, or a damaged one."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong with it."""
        super().__init__(f"Not a valid GGUF file: {problem}")


@attrs.frozen
class Tensor:
    """One tensor: ``shape`` counts rows first, as everybody but GGUF does; ``offset`` is from the start of the file."""

    name: str
    shape: tuple[int, ...]
    form: Form
    offset: int

    @property
    def size_bytes(self) -> int:
        """How many bytes of the file it takes."""
        return math.prod(self.shape) // self.form.weights * self.form.size_bytes


@attrs.frozen
class Header:
    """What a file declares, all of it inside of the file."""

    values: Mapping[str, Value]
    tensors: Mapping[str, Tensor]


def read(file: BinaryIO, size: int) -> Header:
    """Read the header of an open file of a size. Raises NotValid, OSError."""
    reader = _Reader(file, min(size, _MAX_HEADER))
    if reader.take(4) != _MAGIC:
        msg = "it does not begin with GGUF"
        raise NotValid(msg)
    version = reader.number("I")
    if version not in _VERSIONS:
        is_swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        msg = "its numbers are big-endian" if is_swapped else f"version {version} is unknown"
        raise NotValid(msg)
    tensor_count = reader.count(_MAX_TENSORS, "tensors")
    value_count = reader.count(_MAX_VALUES, "values")
    values: dict[str, Value] = {}
    for _ in range(value_count):
        key = reader.text(_MAX_NAME)
        if key in values:
            msg = f"two values are called {key!a}"
            raise NotValid(msg)
        values[key] = reader.value()
    infos = [_tensor(reader) for _ in range(tensor_count)]
    return Header(values, _placed(infos, reader.position, _alignment(values), size))


class _Reader:
    """Takes a header apart, byte by byte, and never more than there is."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._elements = _MAX_ELEMENTS
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            msg = "its header is cut off, or too long"
            raise NotValid(msg)
        self._left -= count
        self.position += count
        return data

    def number(self, form: str) -> int:
        """Return a whole number."""
        (found,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return int(found)

    def count(self, limit: int, what: str) -> int:
        """Return how many of something follow."""
        found = self.number("Q")
        if found > limit:
            msg = f"{found} {what} are too many"
            raise NotValid(msg)
        return found

    def text(self, limit: int = _MAX_HEADER) -> str:
        """Return a text with its length before it."""
        data = self.take(self.count(limit, "bytes in one text"))
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            msg = "a text is not UTF-8"
            raise NotValid(msg) from exc

    def value(self) -> Value:
        """Return a value with its type before it."""
        kind = self.number("I")
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        return self._numbers(kind, 1)[0]

    def _array(self) -> tuple[bool | int | float | str, ...]:
        kind = self.number("I")
        count = self.count(self._elements, "elements in lists")
        self._elements -= count
        if kind == _STRING:
            return tuple([self.text() for _ in range(count)])
        return self._numbers(kind, count)

    def _numbers(self, kind: int, count: int) -> tuple[bool | int | float, ...]:
        form = _NUMBERS.get(kind)
        if form is None:
            msg = f"a value is of the unknown type {kind}"
            raise NotValid(msg)
        data = self.take(struct.calcsize(f"<{form}") * count)
        return struct.unpack(f"<{count}{form}", data)


def _tensor(reader: _Reader) -> Tensor:
    """Read what the header says of one tensor; the offset is still from the start of the numbers."""
    name = reader.text(_MAX_NAME)
    dimensions = reader.number("I")
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        msg = f"tensor {name!a} has {dimensions} dimensions"
        raise NotValid(msg)
    shape = tuple(reversed([reader.number("Q") for _ in range(dimensions)]))
    number = reader.number("I")
    form = forms.of_number(number)
    if form is None:
        msg = f"tensor {name!a} is of the unknown type {number}"
        raise NotValid(msg)
    if 0 in shape or shape[-1] % form.weights:
        msg = f"tensor {name!a} cannot be {form.name} with the shape {list(shape)}"
        raise NotValid(msg)
    return Tensor(name, shape, form, reader.number("Q"))


def _alignment(values: Mapping[str, Value]) -> int:
    found = values.get(_ALIGNMENT, _DEFAULT_ALIGNMENT)
    if not isinstance(found, int) or not 0 < found <= _MAX_ALIGNMENT:
        msg = "its alignment makes no sense"
        raise NotValid(msg)
    return found


def _placed(infos: list[Tensor], header_bytes: int, alignment: int, size: int) -> dict[str, Tensor]:
    """Return the tensors where they are in the file: each inside of it, no two in one place."""
    start = -(-header_bytes // alignment) * alignment
    placed: dict[str, Tensor] = {}
    end = start
    for tensor in sorted(infos, key=lambda tensor: tensor.offset):
        offset = start + tensor.offset
        if tensor.name in placed or offset < end:
            msg = f"tensor {tensor.name!a} is there twice, or lies over another one"
            raise NotValid(msg)
        end = offset + tensor.size_bytes
        if end > size:
            msg = f"tensor {tensor.name!a} is cut off"
            raise NotValid(msg)
        placed[tensor.name] = attrs.evolve(tensor, offset=offset)
    return placed
