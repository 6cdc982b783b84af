"""A safetensors writer that takes a tensor in parts, so that no model has to be in memory as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import attrs
import numpy.typing as npt

_ITEM_BYTES = {"F32": 4, "U32": 4, "F16": 2, "BF16": 2}
_ALIGNMENT = 8


@attrs.frozen
class TensorSpec:
    """The dtype and shape of one tensor in the file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """The number of bytes that the tensor takes."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


class SafetensorsWriter:
    """Writes a safetensors file whose tensors are all known before the first data arrives."""

    def __init__(self, path: str, specs: Mapping[str, TensorSpec]) -> None:
        """Create the file and write its header. Raises OSError."""
        header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
        self._next: dict[str, int] = {}
        end = 0
        # The widest dtypes come first, as in the reference writer: this aligns every tensor.
        for name in sorted(specs, key=lambda name: (-_ITEM_BYTES[specs[name].dtype], name)):
            spec = specs[name]
            start, end = end, end + spec.size_bytes
            header[name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [start, end]}
            self._next[name] = start
        data = json.dumps(header, separators=(",", ":")).encode()
        data += b" " * (-len(data) % _ALIGNMENT)
        self._start = 8 + len(data)
        self._file = open(path, "xb")  # noqa: SIM115 - __exit__ closes it
        self._file.write(len(data).to_bytes(8, "little") + data)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def append(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write the next rows of a tensor. Raises OSError."""
        self._file.seek(self._start + self._next[name])
        self._next[name] += self._file.write(array.tobytes())
