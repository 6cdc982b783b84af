"""Weight files: their format and header, from their first and last bytes."""

from __future__ import annotations

import os
import struct

from mlxknife.adapters.folder import safetensors_header
from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.folder.safe_open import LFS_POINTER, OPEN_FLAGS
from mlxknife.domain.models.values.snapshot import WeightFormat, WeightHeader

_FIRST_READ = 64 * 1024
_MAX_HEADER = 8_000_000
"""Those of real models are a tenth of this."""
_LENGTH = struct.Struct("<Q")
_ZIP_START = b"PK\x03\x04"
_ZIP_END = b"PK\x05\x06"
_ZIP_TAIL = 66_000
_GGUF_MAGIC = b"GGUF"
_GGUF_HEADER = 24
_PICKLE = b"\x80"
_GGUF = ".gguf"
_SAFETENSORS = ".safetensors"


def read_head(name: str, path: str, size: int, budget: ReadingBudget) -> WeightHeader:
    """Return the format and header of a weight file of ``size`` bytes.

    ``name`` is the name in the model, since the path of a blob has no suffix. Raises OSError.
    """
    handle = os.open(path, OPEN_FLAGS)
    try:
        if name.endswith(_SAFETENSORS):
            return _read_safetensors(handle, size, budget)
        return _read_other(name, handle, size)
    finally:
        os.close(handle)


def _read_other(name: str, handle: int, size: int) -> WeightHeader:
    start = os.pread(handle, len(LFS_POINTER), 0)
    if start.startswith(LFS_POINTER):
        return WeightHeader(format=WeightFormat.LFS_POINTER)
    if name.endswith(_GGUF) or start.startswith(_GGUF_MAGIC):
        is_gguf = start.startswith(_GGUF_MAGIC) and size >= _GGUF_HEADER
        problem = "not a GGUF file" if start and not is_gguf else None
        return WeightHeader(format=WeightFormat.GGUF, problem=problem)
    if start.startswith(_ZIP_START):
        tail = os.pread(handle, _ZIP_TAIL, max(0, size - _ZIP_TAIL))
        problem = None if _ZIP_END in tail else "truncated: the end of the archive is missing"
        return WeightHeader(format=WeightFormat.TORCH, problem=problem)
    is_torch = name.rpartition("/")[2].startswith("pytorch_model")
    problem = "not a PyTorch file" if is_torch and start and not start.startswith(_PICKLE) else None
    return WeightHeader(format=WeightFormat.OTHER, problem=problem)


def _read_safetensors(handle: int, size: int, budget: ReadingBudget) -> WeightHeader:
    start = os.pread(handle, _FIRST_READ, 0)
    if start.startswith(LFS_POINTER):
        return WeightHeader(format=WeightFormat.LFS_POINTER)
    if not start:
        return WeightHeader(format=WeightFormat.OTHER)  # its size of 0 is reported elsewhere
    if len(start) < _LENGTH.size:
        return _broken("too short for a header")
    (length,) = _LENGTH.unpack_from(start)
    end = _LENGTH.size + length
    if length > min(budget.bytes_left, _MAX_HEADER):
        return _broken(f"header of {length} bytes is too large")
    if end > size:
        return _broken(f"truncated: header of {length} bytes in a file of {size}")
    header = start[_LENGTH.size : end]
    if len(header) < length:
        header += os.pread(handle, length - len(header), len(start))
    budget.bytes_left -= len(header)
    return _parse_header(header, size - end, budget)


def _parse_header(data: bytes, data_size: int, budget: ReadingBudget) -> WeightHeader:
    try:
        header = safetensors_header.parse(data, budget)
    except ValueError as exc:
        return _broken(str(exc))
    return WeightHeader(WeightFormat.SAFETENSORS, None, data_size, header.tensors, header.metadata)


def _broken(problem: str) -> WeightHeader:
    return WeightHeader(format=WeightFormat.SAFETENSORS, problem=problem)
