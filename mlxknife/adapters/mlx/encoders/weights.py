"""The tensors of a safetensors folder as float32 arrays of numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import prod
from typing import TypeAlias

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from mlxknife.adapters.mlx.encoders import quantization
from mlxknife.domain.errors import EngineError
from mlxknife.domain.models.values.snapshot import TensorEntry

Floats: TypeAlias = NDArray[np.float32]

_SUFFIX = ".safetensors"
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "U32": "<u4", "U8": "u1"}
_FLOATS = ("F32", "F16", "BF16", "F64")
_MAX_HEADER = 100_000_000
_HEADER = msgspec.json.Decoder(dict[str, object])


@attrs.frozen(eq=False)
class Stored:
    """A tensor as it lies in its file, mapped into memory."""

    dtype: str
    values: NDArray[np.generic]

    def floats(self, rows: NDArray[np.int64] | None = None) -> Floats:
        """Return the values, or those of some rows. Only float32 needs no copy."""
        values = self.values if rows is None else self.values[rows]
        if self.dtype == "BF16":
            return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.asarray(values, np.float32)


class Table:
    """A matrix of which only some rows are needed, such as the vectors of the tokens: it stays on the disk."""

    def __init__(self, weights: Weights, name: str, rows: int, columns: int) -> None:
        """Find the tensors. Raises EngineError if one is missing or has another shape."""
        self._packed = weights.packed(name, rows, columns)
        self._plain = None if self._packed is not None else weights.stored(name, rows, columns)

    def __getitem__(self, rows: NDArray[np.int64]) -> Floats:
        """Return some rows, in the shape of the indices."""
        unique, places = np.unique(rows, return_inverse=True)
        if self._packed is not None:
            found = self._packed.floats(unique)
        else:
            assert self._plain is not None  # noqa: S101 - one of the two is set
            found = self._plain.floats(unique)
        return found[places.reshape(rows.shape)]


class Weights:
    """The tensors at the top level of a model folder. Float32 tensors stay on the disk until they are used."""

    def __init__(self, folder: str) -> None:
        """Read the headers. Raises EngineError, OSError."""
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))
        if not names:
            msg = "The model has no safetensors; weights in a pickle are not loaded"
            raise EngineError(msg)
        self._tensors: dict[str, Stored] = {}
        for name in names:
            self._tensors |= _read(os.path.join(folder, name))

    @property
    def names(self) -> frozenset[str]:
        """The names of all tensors."""
        return frozenset(self._tensors)

    def prefix(self, name: str, *prefixes: str) -> str:
        """Return the prefix with which a tensor is there; the last one if there is none."""
        names = (f"{name}.weight", f"{name}.scales")
        return next((one for one in prefixes if any(one + name in self._tensors for name in names)), prefixes[-1])

    def tensor(self, name: str, *shape: int) -> Floats:
        """Return a tensor, dequantised. Raises EngineError if it is missing or has another shape."""
        packed = self.packed(name, *shape) if len(shape) == 2 else None  # noqa: PLR2004 - a matrix
        return self.stored(name, *shape).floats() if packed is None else packed.floats()

    def optional(self, name: str, *shape: int) -> Floats | None:
        """Return a tensor; None where there is none. Raises EngineError if it has another shape."""
        return self.tensor(name, *shape) if name in self._tensors else None

    def stored(self, name: str, *shape: int) -> Stored:
        """Return a tensor of floats as it is stored. Raises EngineError if it is missing or has another shape."""
        found = self._tensors.get(name)
        if found is None or found.values.shape != shape or found.dtype not in _FLOATS:
            has = "is missing" if found is None else f"is {found.dtype} with the shape {found.values.shape}"
            msg = f"The tensor {name} {has}; config.json asks for {shape}"
            raise EngineError(msg)
        return found

    def packed(self, name: str, rows: int, columns: int) -> quantization.Packed | None:
        """Return a quantised matrix; None if it is not quantised. Raises EngineError for another shape or mode."""
        root = name.removesuffix("weight")
        scales = self._tensors.get(f"{root}scales")
        codes, biases = self._tensors.get(name), self._tensors.get(f"{root}biases")
        if scales is None or codes is None:
            return None
        if codes.dtype != "U32" or biases is None or scales.dtype not in _FLOATS or biases.dtype not in _FLOATS:
            msg = f"The tensor {name} is quantised in a way that embeddings do not support (only affine)"
            raise EngineError(msg)
        return quantization.Packed.of(name, (rows, columns), codes.values, scales.floats(), biases.floats())


def _read(path: str) -> dict[str, Stored]:
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(_MAX_HEADER, len(data) - 8):
        msg = f"{os.path.basename(path)} has no valid header"
        raise EngineError(msg)
    header = _HEADER.decode(data[8 : 8 + length].tobytes())
    return dict(_tensors(header, np.asarray(data[8 + length :])))


def _tensors(header: Mapping[str, object], body: NDArray[np.uint8]) -> Iterator[tuple[str, Stored]]:
    for name, declared in header.items():
        if name == "__metadata__":
            continue
        entry = msgspec.convert(declared, TensorEntry)
        if entry.dtype in _DTYPES:
            yield name, Stored(entry.dtype, _array(name, entry, body))


def _array(name: str, entry: TensorEntry, body: NDArray[np.uint8]) -> NDArray[np.generic]:
    (begin, end), dtype = entry.data_offsets, np.dtype(_DTYPES[entry.dtype])
    if not 0 <= begin <= end <= len(body) or end - begin != prod(entry.shape) * dtype.itemsize:
        msg = f"The tensor {name} does not fit its file"
        raise EngineError(msg)
    raw = body[begin:end]
    if raw.ctypes.data % dtype.itemsize:
        raw = raw.copy()
    values: NDArray[np.generic] = raw.view(dtype).reshape(entry.shape)
    return values
