"""The operations of encoders in MLX, for a GPU. They compute in float32, as numpy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

_SQRT_HALF, _SQRT_TANH = 0.5**0.5, (2 / np.pi) ** 0.5


class MlxOperations:
    """See ``Operations``."""

    name = "MLX on the GPU"

    @staticmethod
    def array(values: NDArray[Any]) -> mx.array:
        """See ``Operations.array``."""
        return mx.array(values)

    @staticmethod
    def floats(values: mx.array) -> NDArray[np.float32]:
        """See ``Operations.floats``."""
        return np.array(values)

    @staticmethod
    def computed(values: mx.array) -> mx.array:
        """See ``Operations.computed``."""
        mx.eval(values)
        return values

    @staticmethod
    def dense(values: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
        """See ``Operations.dense``."""
        result = values @ weight.T
        return result if bias is None else result + bias

    @staticmethod
    def layer_norm(values: mx.array, weight: mx.array, bias: mx.array | None, epsilon: float) -> mx.array:
        """See ``Operations.layer_norm``."""
        return mx.fast.layer_norm(values, weight, bias, epsilon)

    @staticmethod
    def rms_norm(values: mx.array, weight: mx.array, epsilon: float) -> mx.array:
        """See ``Operations.rms_norm``."""
        return mx.fast.rms_norm(values, weight, epsilon)

    @staticmethod
    def rotate(values: mx.array, cosines: mx.array, sines: mx.array) -> mx.array:
        """See ``Operations.rotate``."""
        half = values.shape[-1] // 2
        first, second = values[..., :half], values[..., half:]
        return mx.concatenate([first * cosines - second * sines, second * cosines + first * sines], -1)

    @staticmethod
    def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None, scale: float) -> mx.array:
        """See ``Operations.attend``."""
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)

    @staticmethod
    def mask(is_seen: NDArray[np.bool_]) -> mx.array:
        """See ``Operations.mask``."""
        return mx.array(np.where(is_seen, np.float32(0), np.float32(-1e30)))

    @staticmethod
    def concatenate(parts: Sequence[mx.array], axis: int) -> mx.array:
        """See ``Operations.concatenate``."""
        return mx.concatenate(list(parts), axis)

    @staticmethod
    def activation(name: str) -> Callable[[mx.array], mx.array]:
        """See ``Operations.activation``."""
        return _ACTIVATIONS[name]


def has_gpu() -> bool:
    """Return whether MLX computes on a GPU here."""
    return mx.default_device().type == mx.DeviceType.gpu


def _gelu(values: mx.array) -> mx.array:
    return values * (1 + mx.erf(values * _SQRT_HALF)) * 0.5


def _gelu_tanh(values: mx.array) -> mx.array:
    return values * (1 + mx.tanh(_SQRT_TANH * (values + 0.044715 * values * values * values))) * 0.5


def _silu(values: mx.array) -> mx.array:
    return values * mx.sigmoid(values)


def _relu(values: mx.array) -> mx.array:
    return mx.maximum(values, 0)


_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": _gelu, "gelu_new": _gelu_tanh, "gelu_pytorch_tanh": _gelu_tanh,
    "relu": _relu, "silu": _silu, "swish": _silu,
}  # fmt: skip
