"""Writes GGUF files with tensors of the float types and of Q4_0, Q4_1 and Q8_0. It needs only numpy."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Value = bool | int | float | str | Sequence[str] | Sequence[int] | Sequence[float]

TYPE_IDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "BF16": 30}
_ALIGNMENT = 32


@attrs.frozen
class Stored:
    """A tensor as a file stores it; ``values`` are the numbers that its bytes stand for."""

    type_id: int
    shape: tuple[int, ...]
    data: bytes
    values: Floats


def stored(values: Floats, ggml_type: str) -> Stored:
    """Return a tensor in a ggml type."""
    if ggml_type == "F32":
        return Stored(TYPE_IDS[ggml_type], values.shape, values.astype("<f4").tobytes(), values)
    if ggml_type == "F16":
        halves = values.astype("<f2")
        return Stored(TYPE_IDS[ggml_type], values.shape, halves.tobytes(), halves.astype(np.float32))
    if ggml_type == "BF16":
        upper = (np.ascontiguousarray(values).view("<u4") >> 16).astype("<u2")
        rounded = (upper.astype("<u4") << 16).view("<f4").reshape(values.shape)
        return Stored(TYPE_IDS[ggml_type], values.shape, upper.tobytes(), rounded)
    groups = values.reshape(-1, 32)
    data, rounded = _quantized(groups, ggml_type)
    return Stored(TYPE_IDS[ggml_type], values.shape, data, rounded.reshape(values.shape))


def _quantized(groups: Floats, ggml_type: str) -> tuple[bytes, Floats]:
    low, high = groups.min(axis=1), groups.max(axis=1)
    largest = np.abs(groups).max(axis=1)
    scale = {"Q4_0": largest / 7, "Q4_1": (high - low) / 15, "Q8_0": largest / 127}[ggml_type].astype("<f2")
    wide = np.maximum(scale.astype(np.float32), 1e-8)[:, None]
    zero = low.astype("<f2").astype(np.float32)[:, None] if ggml_type == "Q4_1" else np.float32(0)
    numbers = np.rint((groups - zero) / wide).astype(np.int32)
    if ggml_type == "Q8_0":
        numbers = np.clip(numbers, -128, 127)
        blocks = numbers.astype(np.int8).view(np.uint8)
    else:
        numbers = np.clip(numbers, 0, 15) if ggml_type == "Q4_1" else np.clip(numbers, -8, 7)
        nibbles = (numbers if ggml_type == "Q4_1" else numbers + 8).astype(np.uint8)
        blocks = nibbles[:, :16] | (nibbles[:, 16:] << np.uint8(4))
    heads = [scale.view(np.uint8).reshape(-1, 2)]
    if ggml_type == "Q4_1":
        heads.append(low.astype("<f2").view(np.uint8).reshape(-1, 2))
    data = np.concatenate([*heads, blocks], axis=1).tobytes()
    return data, (numbers * scale.astype(np.float32)[:, None] + zero).astype(np.float32)


def gguf(values: Mapping[str, Value], tensors: Mapping[str, Stored], *, version: int = 3) -> bytes:
    """Return the bytes of a file."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(_text(key) + _value(value) for key, value in values.items())
    data = b""
    for name, tensor in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
        head += struct.pack("<IQ", tensor.type_id, len(data))
        data += tensor.data + bytes(-len(tensor.data) % _ALIGNMENT)
    return head + bytes(-len(head) % _ALIGNMENT) + data


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    kind, data = _kind(value)
    return struct.pack("<I", kind) + data


def _kind(value: Any) -> tuple[int, bytes]:  # noqa: ANN401 - any value that a file can hold
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    items = [_kind(item) for item in value]
    (kind,) = {item[0] for item in items} or {4}
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(item[1] for item in items)
