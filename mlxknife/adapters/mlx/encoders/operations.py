"""The operations that encoders are written in. numpy and MLX each have an implementation of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""An array of numpy or of MLX. Both have ``+``, ``*``, ``[]``, ``shape``, ``reshape`` and ``transpose``."""


class Operations(Protocol):
    """What numpy and MLX name or do differently."""

    @property
    def name(self) -> str:
        """What computes, in words."""
        ...

    def array(self, values: NDArray[Any]) -> Array:
        """Return the array of this library with the values of an array of numpy."""
        ...

    def floats(self, values: Array) -> NDArray[np.float32]:
        """Return the values as an array of numpy."""
        ...

    def computed(self, values: Array) -> Array:
        """Return the same array, computed by now."""
        ...

    def dense(self, values: Array, weight: Array, bias: Array | None) -> Array:
        """Return a linear layer of values; each row of the weight makes one output."""
        ...

    def layer_norm(self, values: Array, weight: Array, bias: Array | None, epsilon: float) -> Array:
        """Return values with the mean 0 and the variance 1, scaled."""
        ...

    def rms_norm(self, values: Array, weight: Array, epsilon: float) -> Array:
        """Return values with the mean square 1, scaled."""
        ...

    def rotate(self, values: Array, cosines: Array, sines: Array) -> Array:
        """Return values whose first and second halves are rotated in pairs."""
        ...

    def attend(self, queries: Array, keys: Array, values: Array, mask: Array | None, scale: float) -> Array:
        """Return what each query attends to.

        All have the shape (rows, heads, tokens, size); there may be fewer heads of keys. ``mask`` comes from ``mask``.
        """
        ...

    def mask(self, is_seen: NDArray[np.bool_]) -> Array:
        """Return a mask for ``attend``: which keys a query sees."""
        ...

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        """Return the arrays joined."""
        ...

    def activation(self, name: str) -> Callable[[Array], Array]:
        """Return an activation function."""
        ...
