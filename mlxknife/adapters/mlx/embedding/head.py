"""What follows the encoder of an embedding model: pooling, and linear layers."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
import numpy as np

from mlxknife.adapters.mlx.encoders.numpy_operations import NumpyOperations
from mlxknife.adapters.mlx.encoders.weights import Floats, Weights
from mlxknife.domain.encoders.values import DenseConfig, EmbedderConfig

_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "Identity": lambda values: values,
    "Tanh": np.tanh,
    "ReLU": NumpyOperations.activation("relu"),
    "GELU": NumpyOperations.activation("gelu"),
}


@attrs.frozen(eq=False)
class _Dense:
    weight: Floats
    bias: Floats | None
    activation: Callable[[Floats], Floats]

    def __call__(self, vectors: Floats) -> Floats:
        return self.activation(NumpyOperations.dense(vectors, self.weight, self.bias))


class Head:
    """The pooling, and the linear layers after it, which numpy computes: there is one vector for each text."""

    def __init__(self, folder: str, weights: Weights, config: EmbedderConfig) -> None:
        """Take the tensors of the linear layers. Raises EngineError, OSError."""
        self.pooling = config.pooling
        self._layers = [_layer(folder, weights, number, dense) for number, dense in enumerate(config.dense)]

    def __call__(self, vectors: Floats) -> Floats:
        """Return the vectors after the linear layers."""
        for layer in self._layers:
            vectors = layer(vectors)
        return vectors


def _layer(folder: str, weights: Weights, number: int, config: DenseConfig) -> _Dense:
    """Take the tensors of a layer: in MLX's form they are among those of the encoder."""
    name, found = f"dense.{number}", weights
    if f"{name}.weight" not in weights.names:
        name, found = "linear", Weights(os.path.join(folder, config.folder))
    bias = found.tensor(f"{name}.bias", config.outputs) if config.has_bias else None
    weight = found.tensor(f"{name}.weight", config.outputs, config.inputs)
    return _Dense(weight, bias, _ACTIVATIONS[config.activation])
