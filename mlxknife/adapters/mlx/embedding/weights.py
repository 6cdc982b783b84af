"""The tensors of a safetensors folder as float32 arrays of numpy."""

from __future__ import annotations

import os
from math import prod
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlxknife.domain.errors import EngineError
from mlxknife.domain.models.values.snapshot import TensorEntry

Array: TypeAlias = NDArray[np.float32]

_SUFFIX = ".safetensors"
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
_MAX_HEADER = 100_000_000
_HEADER = msgspec.json.Decoder(dict[str, dict[str, object]])


class Weights:
    """The tensors at the top level of a model folder. Float32 tensors stay on the disk until they are used."""

    def __init__(self, folder: str) -> None:
        """Read the headers. Raises EngineError, OSError."""
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))
        if not names:
            msg = "The model has no safetensors; weights in a pickle are not loaded"
            raise EngineError(msg)
        self._tensors: dict[str, Array] = {}
        for name in names:
            self._tensors |= _read(os.path.join(folder, name))

    @property
    def names(self) -> frozenset[str]:
        """The names of all tensors."""
        return frozenset(self._tensors)

    def tensor(self, name: str, *shape: int) -> Array:
        """Return a tensor. Raises EngineError if it is missing or has another shape."""
        found = self._tensors.get(name)
        if found is None or found.shape != shape:
            has = "is missing" if found is None else f"has the shape {found.shape}"
            msg = f"The tensor {name} {has}; config.json asks for {shape}"
            raise EngineError(msg)
        return found


def _read(path: str) -> dict[str, Array]:
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(_MAX_HEADER, len(data) - 8):
        msg = f"{os.path.basename(path)} has no valid header"
        raise EngineError(msg)
    header = _HEADER.decode(data[8 : 8 + length].tobytes())
    body = data[8 + length :]
    entries = {name: msgspec.convert(entry, TensorEntry) for name, entry in header.items() if name != "__metadata__"}
    return {name: _array(name, entry, body) for name, entry in entries.items() if entry.dtype in _DTYPES}


def _array(name: str, entry: TensorEntry, body: NDArray[np.uint8]) -> Array:
    """Return one tensor; only float32 needs no copy."""
    (begin, end), dtype = entry.data_offsets, np.dtype(_DTYPES[entry.dtype])
    if not 0 <= begin <= end <= len(body) or end - begin != prod(entry.shape) * dtype.itemsize:
        msg = f"The tensor {name} does not fit its file"
        raise EngineError(msg)
    raw = body[begin:end]
    if raw.ctypes.data % dtype.itemsize:
        raw = raw.copy()
    values = raw.view(dtype)
    if entry.dtype == "BF16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(values, np.float32).reshape(entry.shape)
