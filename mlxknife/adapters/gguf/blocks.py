"""Blocks of GGUF numbers as the arrays that MLX computes with.

Three forms are MLX's own affine quantisation in another order: they are repacked, bit for bit. Floats are taken as they
are, or in the type that the model computes in. For the others the ``gguf`` package knows what they mean.

A tensor comes as its raw bytes, one row of the array for one row of the tensor.
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

GROUP = 32
"""How many weights share a scale, in all forms that are repacked."""
BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
"""The forms that are repacked."""
FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""The forms that are floats, and how numpy holds them, which does not know BF16."""
EXTRA = "gguf"

_SCALE = 2
_SIGN = 0x80
_LOW = 0x0F


@attrs.frozen
class Packed:
    """Quantised weights: ``weight`` holds several in each number, ``scales`` and ``biases`` one for each group."""

    weight: Array
    scales: Array
    biases: Array


def repack(form: str, raw: Raw, block_bytes: int) -> Packed:
    """Return rows of a quantised tensor as MLX holds them."""
    rows = raw.shape[0]
    blocks = raw.reshape(rows, -1, block_bytes)
    scales = _halves(blocks[:, :, :_SCALE])
    if form == "Q8_0":
        weight = blocks[:, :, _SCALE:] ^ np.uint8(_SIGN)
        biases = _times(scales, -128)
    elif form == "Q4_0":
        weight = _nibbles(blocks[:, :, _SCALE:])
        biases = _times(scales, -8)
    else:
        weight = _nibbles(blocks[:, :, 2 * _SCALE :])
        biases = _halves(blocks[:, :, _SCALE : 2 * _SCALE])
    return Packed(np.ascontiguousarray(weight).view("<u4").reshape(rows, -1), scales, biases)


def _halves(data: Raw) -> Array:
    return np.ascontiguousarray(data).view("<f2").reshape(data.shape[:2])


def _times(scales: Array, factor: int) -> Array:
    with np.errstate(all="ignore"):  # a scale may be anything that a stranger wrote
        return np.multiply(scales, np.float16(factor), dtype=np.float16)


def _nibbles(data: Raw) -> Raw:
    """Return 4-bit numbers in their order: GGUF puts the first half of a block below the second one."""
    numbers = np.concatenate([data & _LOW, data >> np.uint8(4)], axis=2)
    pairs: Raw = numbers[:, :, 0::2] | (numbers[:, :, 1::2] << np.uint8(4))
    return pairs


def as_floats(name: str, form: str, raw: Raw, wanted: str) -> Array:
    """Return rows of a tensor as floats of a form.

    Raises ValidationError when they do not fit into it, or the package that knows their form is not installed.
    """
    if form == wanted:
        return raw.view(FLOATS[form])
    floats: Array
    if form == "BF16":
        floats = (raw.view("<u2").astype("<u4") << 16).view("<f4")
    elif form in FLOATS:
        floats = raw.view(FLOATS[form]).astype("<f4")
    else:
        floats = _dequantised(form, raw)
    return _rounded(name, floats, wanted)


def _rounded(name: str, floats: Array, wanted: str) -> Array:
    if wanted == "F32":
        return floats
    if wanted == "BF16":
        bits = np.ascontiguousarray(floats).view("<u4")
        nearest: Array = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        return nearest
    with np.errstate(all="ignore"):
        rounded: Array = floats.astype("<f2")
    if np.isinf(rounded).any():
        msg = f"Tensor {name!a} holds numbers that are too large for {wanted}"
        raise ValidationError(msg)
    return rounded


def knows_others() -> bool:
    """Tell whether the package is installed that knows all forms."""
    return importlib.util.find_spec(EXTRA) is not None


def _dequantised(form: str, raw: Raw) -> Array:
    constants: Any = importlib.import_module(f"{EXTRA}.constants")  # it is an extra, and takes a tenth of a second
    quants: Any = importlib.import_module(f"{EXTRA}.quants")
    try:
        floats = quants.dequantize(raw, constants.GGMLQuantizationType[form])
    except (KeyError, NotImplementedError) as exc:
        raise cannot_read({form}) from exc
    return np.asarray(floats, dtype="<f4")


def cannot_read(names: set[str]) -> ValidationError:
    """Return what to say of forms that nobody here knows."""
    msg = f"The weights are in a form that cannot be read here: {', '.join(sorted(names))}"
    hint = None if knows_others() else HintCode.INSTALL_GGUF
    return ValidationError(msg, hint=hint)
