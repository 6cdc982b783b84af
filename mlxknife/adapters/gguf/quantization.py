"""Blocks of ggml types as the arrays that MLX computes with.

Q4_0, Q4_1 and Q8_0 are MLX's own affine quantisation in another order, so their bits are repacked without loss. Float
types are copied, or rounded to the dtype of the model. The optional ``gguf`` package dequantises all other types.

Tensors arrive as raw bytes: one row of the array holds one row of the tensor.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode

Raw = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

GROUP_SIZE = 32
"""The number of weights that share a scale, in all types that are repacked."""
BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
"""The types that are repacked."""
FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""The float types with their numpy dtypes. numpy has no BF16."""
EXTRA = "gguf"

_SCALE = 2
_SIGN = 0x80
_LOW = 0x0F


@attrs.frozen
class PackedWeights:
    """Quantised weights of MLX: ``weight`` packs several into each integer; each group has a scale and a bias."""

    weight: Array
    scales: Array
    biases: Array


def repack(ggml_type: str, raw: Raw, type_size: int) -> PackedWeights:
    """Return rows of a tensor of one of the types in ``BITS`` as MLX stores them."""
    rows = raw.shape[0]
    blocks = raw.reshape(rows, -1, type_size)
    scales = _float16(blocks[:, :, :_SCALE])
    if ggml_type == "Q8_0":
        weight = blocks[:, :, _SCALE:] ^ np.uint8(_SIGN)
        biases = _times(scales, -128)
    elif ggml_type == "Q4_0":
        weight = _nibbles(blocks[:, :, _SCALE:])
        biases = _times(scales, -8)
    else:
        weight = _nibbles(blocks[:, :, 2 * _SCALE :])
        biases = _float16(blocks[:, :, _SCALE : 2 * _SCALE])
    return PackedWeights(np.ascontiguousarray(weight).view("<u4").reshape(rows, -1), scales, biases)


def _float16(data: Raw) -> Array:
    return np.ascontiguousarray(data).view("<f2").reshape(data.shape[:2])


def _times(scales: Array, factor: int) -> Array:
    with np.errstate(all="ignore"):  # an untrusted file may hold any scale
        return np.multiply(scales, np.float16(factor), dtype=np.float16)


def _nibbles(data: Raw) -> Raw:
    """Return the 4-bit integers in order: GGUF keeps the first half of a block in the low bits of the second half."""
    numbers = np.concatenate([data & _LOW, data >> np.uint8(4)], axis=2)
    pairs: Raw = numbers[:, :, 0::2] | (numbers[:, :, 1::2] << np.uint8(4))
    return pairs


def to_floats(name: str, ggml_type: str, raw: Raw, dtype: str) -> Array:
    """Return rows of the tensor ``name`` in a float dtype.

    Raises ValidationError when a value overflows the dtype, or when the ``gguf`` package is needed and not installed.
    """
    if ggml_type == dtype:
        return raw.view(FLOATS[ggml_type])
    floats: Array
    if ggml_type == "BF16":
        floats = (raw.view("<u2").astype("<u4") << 16).view("<f4")
    elif ggml_type in FLOATS:
        floats = raw.view(FLOATS[ggml_type]).astype("<f4")
    else:
        floats = _dequantized(ggml_type, raw)
    return _rounded(name, floats, dtype)


def _rounded(name: str, floats: Array, dtype: str) -> Array:
    if dtype == "F32":
        return floats
    if dtype == "BF16":
        bits = np.ascontiguousarray(floats).view("<u4")
        nearest: Array = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        return nearest
    with np.errstate(all="ignore"):
        rounded: Array = floats.astype("<f2")
    if np.isinf(rounded).any():
        msg = f"Tensor {name!a} holds numbers that are too large for {dtype}"
        raise ValidationError(msg)
    return rounded


def has_gguf_package() -> bool:
    """Return whether the ``gguf`` package is installed, which dequantises all types."""
    return importlib.util.find_spec(EXTRA) is not None


def _dequantized(ggml_type: str, raw: Raw) -> Array:
    constants: Any = importlib.import_module(f"{EXTRA}.constants")  # an optional package that takes 0.1 s to import
    quants: Any = importlib.import_module(f"{EXTRA}.quants")
    try:
        floats = quants.dequantize(raw, constants.GGMLQuantizationType[ggml_type])
    except (KeyError, NotImplementedError) as exc:
        raise unsupported({ggml_type}) from exc
    return np.asarray(floats, dtype="<f4")


def unsupported(ggml_types: set[str]) -> ValidationError:
    """Return the error for weights of types that cannot be converted with what is installed."""
    msg = f"The quantisation of the weights is not supported: {', '.join(sorted(ggml_types))}"
    hint = None if has_gguf_package() else HintCode.INSTALL_GGUF
    return ValidationError(msg, hint=hint)
