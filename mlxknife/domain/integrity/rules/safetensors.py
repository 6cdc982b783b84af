"""safetensors: the header checks of the reference reader, which MLX's loader does not make."""

from __future__ import annotations

from math import prod

from mlxknife.domain.models.values.snapshot import WeightHeader

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

_MAX_COUNT = 2**64 - 1
_USUAL_RANK = 16
"""With more dimensions, multiplying them all could take minutes."""


def problem(head: WeightHeader) -> str | None:
    """Return why a header does not match its data, or None.

    The tensors must be contiguous, without overlap or hole, and end at the last byte.
    """
    end = 0
    for (start, stop), name in sorted([(entry.data_offsets, name) for name, entry in head.tensors.items()]):
        if start != end:
            return f"tensor {name!r} overlaps its neighbour" if start < end else f"hole before tensor {name!r}"
        entry = head.tensors[name]
        shape, bits = entry.shape, BITS.get(entry.dtype)
        if bits is None:
            return f"tensor {name!r} has the unknown type {entry.dtype!r}"
        is_usual = not shape or (len(shape) <= _USUAL_RANK and min(shape) > 0)
        if not (is_usual or _is_countable(shape)) or prod(shape) * bits != (stop - start) * 8:
            return f"tensor {name!r} does not match its size in bytes"
        end = stop
    if end > head.data_size:
        return f"truncated: {end - head.data_size} bytes of weights missing"
    if end < head.data_size:
        return f"{head.data_size - end} bytes after the last tensor"
    return None


def _is_countable(shape: tuple[int, ...]) -> bool:
    """Return whether the product of the dimensions fits into 64 bits at every step.

    Positive dimensions need no check: their product is bounded by the size of the data.
    """
    product = 1
    for side in shape:
        product *= side
        if side < 0 or product > _MAX_COUNT:
            return False
    return True
