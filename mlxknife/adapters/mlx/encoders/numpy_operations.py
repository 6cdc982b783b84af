"""The operations of encoders in numpy, with few arrays beside the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlxknife.adapters.mlx.encoders.weights import Floats

_UNSEEN = np.float32(-1e30)
_SQRT_HALF, _SQRT_TANH = np.float32(0.5**0.5), np.float32((2 / np.pi) ** 0.5)
_ERF = tuple(map(np.float32, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)))
_ERF_P = np.float32(0.3275911)
_ONE, _HALF, _CUBE = np.float32(1), np.float32(0.5), np.float32(0.044715)


class NumpyOperations:
    """See ``Operations``."""

    name = "numpy on the CPU"

    @staticmethod
    def array(values: NDArray[Any]) -> NDArray[Any]:
        """See ``Operations.array``."""
        return values

    floats = computed = array

    @staticmethod
    def dense(values: Floats, weight: Floats, bias: Floats | None) -> Floats:
        """See ``Operations.dense``."""
        result: Floats = values.reshape(-1, values.shape[-1]) @ weight.T
        if bias is not None:
            result += bias
        return result.reshape(*values.shape[:-1], -1)

    @staticmethod
    def layer_norm(values: Floats, weight: Floats, bias: Floats | None, epsilon: float) -> Floats:
        """See ``Operations.layer_norm``."""
        result: Floats = values - values.mean(-1, keepdims=True)
        result *= _inverse_root(result, epsilon)
        result *= weight
        if bias is not None:
            result += bias
        return result

    @staticmethod
    def rms_norm(values: Floats, weight: Floats, epsilon: float) -> Floats:
        """See ``Operations.rms_norm``."""
        result: Floats = values * _inverse_root(values, epsilon)
        result *= weight
        return result

    @staticmethod
    def rotate(values: Floats, cosines: Floats, sines: Floats) -> Floats:
        """See ``Operations.rotate``."""
        half = values.shape[-1] // 2
        first, second = values[..., :half], values[..., half:]
        result = np.empty_like(values)
        result[..., :half] = first * cosines - second * sines
        result[..., half:] = second * cosines + first * sines
        return result

    @staticmethod
    def attend(queries: Floats, keys: Floats, values: Floats, mask: Floats | None, scale: float) -> Floats:
        """See ``Operations.attend``."""
        count, heads, length, size = queries.shape
        shared = keys.shape[1]
        asking: Floats = (queries * np.float32(scale)).reshape(count, shared, -1, size)
        scores: Floats = (asking @ keys.transpose(0, 1, 3, 2)).reshape(count, heads, length, -1)
        if mask is not None:
            scores += mask
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        total = scores.sum(-1, keepdims=True)
        result: Floats = scores.reshape(count, shared, -1, scores.shape[-1]) @ values
        result = result.reshape(count, heads, length, size)
        result /= total
        return result

    @staticmethod
    def mask(is_seen: NDArray[np.bool_]) -> Floats:
        """See ``Operations.mask``."""
        return np.where(is_seen, np.float32(0), _UNSEEN)

    @staticmethod
    def concatenate(parts: Sequence[Floats], axis: int) -> Floats:
        """See ``Operations.concatenate``."""
        return np.concatenate(parts, axis)

    @staticmethod
    def activation(name: str) -> Callable[[Floats], Floats]:
        """See ``Operations.activation``."""
        return _ACTIVATIONS[name]


def _inverse_root(values: Floats, epsilon: float) -> Floats:
    """Return one divided by the root of the mean square."""
    squares = np.einsum("...i,...i->...", values, values)[..., None]
    return np.asarray(_ONE / np.sqrt(squares / np.float32(values.shape[-1]) + np.float32(epsilon)))


def _gelu(values: Floats) -> Floats:
    """Return GELU; the error function by Abramowitz and Stegun 7.1.26, which is right up to 1.5e-7."""
    scaled = np.abs(values)
    scaled *= _SQRT_HALF
    part = scaled * _ERF_P
    part += _ONE
    np.reciprocal(part, out=part)
    series = part * _ERF[4]
    for factor in reversed(_ERF[:4]):
        series += factor
        series *= part
    np.square(scaled, out=scaled)
    np.negative(scaled, out=scaled)
    np.exp(scaled, out=scaled)
    series *= scaled
    np.subtract(_ONE, series, out=series)
    np.copysign(series, values, out=series)
    series += _ONE
    series *= values
    series *= _HALF
    return series


def _gelu_tanh(values: Floats) -> Floats:
    inner = values * values
    inner *= _CUBE
    inner += _ONE
    inner *= values
    inner *= _SQRT_TANH
    np.tanh(inner, out=inner)
    inner += _ONE
    inner *= values
    inner *= _HALF
    return inner


def _silu(values: Floats) -> Floats:
    found = np.negative(values)
    np.exp(found, out=found)
    found += _ONE
    np.divide(values, found, out=found)
    return found


def _relu(values: Floats) -> Floats:
    return np.maximum(values, np.float32(0))


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": _gelu, "gelu_new": _gelu_tanh, "gelu_pytorch_tanh": _gelu_tanh,
    "relu": _relu, "silu": _silu, "swish": _silu,
}  # fmt: skip
