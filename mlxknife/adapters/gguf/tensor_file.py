"""Writing a safetensors file piece by piece, so that a model never has to be in memory whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import attrs
import numpy.typing as npt

_BYTES = {"F32": 4, "U32": 4, "F16": 2, "BF16": 2}
_ALIGNMENT = 8


@attrs.frozen
class Piece:
    """What a file is to hold under one name."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * _BYTES[self.dtype]


class TensorFile:
    """A safetensors file with a layout that is known before its numbers."""

    def __init__(self, path: str, layout: Mapping[str, Piece]) -> None:
        """Write the header. Raises OSError."""
        header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
        self._next: dict[str, int] = {}
        end = 0
        # The widest numbers first, as the reference writer does it: then every tensor is aligned.
        for name in sorted(layout, key=lambda name: (-_BYTES[layout[name].dtype], name)):
            piece = layout[name]
            start, end = end, end + piece.size_bytes
            header[name] = {"dtype": piece.dtype, "shape": list(piece.shape), "data_offsets": [start, end]}
            self._next[name] = start
        data = json.dumps(header, separators=(",", ":")).encode()
        data += b" " * (-len(data) % _ALIGNMENT)
        self._start = 8 + len(data)
        self._file = open(path, "xb")  # noqa: SIM115 - it is closed with this object
        self._file.write(len(data).to_bytes(8, "little") + data)

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def append(self, name: str, numbers: npt.NDArray[Any]) -> None:
        """Write the next numbers of a tensor. Raises OSError."""
        self._file.seek(self._start + self._next[name])
        self._next[name] += self._file.write(numbers.tobytes())
