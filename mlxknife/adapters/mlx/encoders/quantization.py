"""Matrices in MLX's affine quantisation, dequantised with numpy."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from mlxknife.domain.errors import EngineError

_WORD = 32
_BITS = (2, 3, 4, 5, 6, 8)
_PART = 1024
"""The rows that are dequantised at once: single bits take eight times the memory."""


@attrs.frozen(eq=False)
class Packed:
    """A quantised matrix: the codes of a row packed into words, a scale and a bias for each group of columns."""

    codes: NDArray[Any]
    scales: NDArray[np.float32]
    biases: NDArray[np.float32]
    bits: int

    @classmethod
    def of(
        cls,
        name: str,
        shape: tuple[int, int],
        codes: NDArray[Any],
        scales: NDArray[np.float32],
        biases: NDArray[np.float32],
    ) -> Packed:
        """Check the parts of a matrix of this shape; the bits follow from it. Raises EngineError."""
        rows, columns = shape
        forms_fit = codes.ndim == scales.ndim == biases.ndim == 2  # noqa: PLR2004 - matrices
        if forms_fit and scales.shape == biases.shape and rows == len(codes) == len(scales):
            bits, left = divmod(codes.shape[1] * _WORD, columns)
            if not left and bits in _BITS and scales.shape[1] and columns % scales.shape[1] == 0:
                return cls(codes, scales, biases, bits)
        msg = f"The quantised tensor {name} has the shape {codes.shape}, which does not fit {shape} of config.json"
        raise EngineError(msg)

    def floats(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the matrix, or some of its rows."""
        count = len(self.codes) if rows is None else len(rows)
        groups = self.scales.shape[1]
        found = np.empty((count, self.codes.shape[1] * _WORD // self.bits), np.float32)
        for start in range(0, count, _PART):
            part = slice(start, start + _PART) if rows is None else rows[start : start + _PART]
            values = _unpacked(self.codes[part], self.bits).reshape(len(self.codes[part]), groups, -1)
            values = values * self.scales[part][:, :, None] + self.biases[part][:, :, None]
            found[start : start + _PART] = values.reshape(len(values), -1)
        return found


def _unpacked(codes: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Return the codes of rows of words; they lie behind each other, the lowest bit first."""
    if _WORD % bits == 0:
        shifts = np.arange(0, _WORD, bits, dtype=np.uint32)
        found = (codes[:, :, None] >> shifts) & np.uint32(2**bits - 1)
        return found.reshape(len(codes), -1).astype(np.float32)
    raw = np.ascontiguousarray(codes).view(np.uint8)
    single = np.unpackbits(raw, axis=1, bitorder="little").reshape(len(codes), -1, bits)
    return single.astype(np.float32) @ np.float32(2) ** np.arange(bits, dtype=np.float32)
