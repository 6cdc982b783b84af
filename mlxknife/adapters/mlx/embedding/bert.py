"""The BERT encoder in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from mlxknife.adapters.mlx.embedding.weights import Array, Weights
from mlxknife.domain.embedding.values import Pooling
from mlxknife.domain.errors import EngineError

_MAX_SCORES = 2**24
"""The attention scores that are held at once."""
_PREFIX = "bert."
_SQRT_HALF, _SQRT_TANH = np.float32(0.5**0.5), np.float32((2 / np.pi) ** 0.5)
_ERF = tuple(map(np.float32, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)))
_ERF_P = np.float32(0.3275911)


@attrs.frozen
class BertSizes:
    """The sizes that config.json declares."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    positions: int
    types: int
    epsilon: float
    activation: str

    @classmethod
    def of(cls, config: Mapping[str, object]) -> BertSizes:
        """Read them. Raises EngineError for a value that is missing or wrong."""
        epsilon, activation = config.get("layer_norm_eps", 1e-12), config.get("hidden_act", "gelu")
        if not isinstance(epsilon, int | float) or not isinstance(activation, str) or activation not in _ACTIVATIONS:
            msg = "config.json has an invalid layer_norm_eps or hidden_act"
            raise EngineError(msg)
        sizes = cls(
            vocabulary=_positive(config, "vocab_size"),
            hidden=_positive(config, "hidden_size"),
            inner=_positive(config, "intermediate_size"),
            layers=_positive(config, "num_hidden_layers"),
            heads=_positive(config, "num_attention_heads"),
            positions=_positive(config, "max_position_embeddings"),
            types=_positive(config, "type_vocab_size"),
            epsilon=float(epsilon),
            activation=activation,
        )
        if sizes.hidden % sizes.heads:
            msg = f"hidden_size {sizes.hidden} is no multiple of num_attention_heads {sizes.heads}"
            raise EngineError(msg)
        return sizes


def _positive(config: Mapping[str, object], name: str) -> int:
    value = config.get(name, 2 if name == "type_vocab_size" else None)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        msg = f"config.json has no valid {name}"
        raise EngineError(msg)
    return value


@attrs.frozen(eq=False)
class _Dense:
    weight: Array
    bias: Array

    def __call__(self, values: Array) -> Array:
        result: Array = values @ self.weight.T
        result += self.bias
        return result


@attrs.frozen(eq=False)
class _Norm:
    weight: Array
    bias: Array
    epsilon: np.float32

    def __call__(self, values: Array) -> Array:
        centred = values - values.mean(-1, keepdims=True)
        variance = np.square(centred).mean(-1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + self.epsilon) * self.weight + self.bias, np.float32)


@attrs.frozen(eq=False)
class _Layer:
    query: _Dense
    key: _Dense
    value: _Dense
    output: _Dense
    norm: _Norm
    inner: _Dense
    outer: _Dense
    last_norm: _Norm


class BertEncoder:
    """Embeds batches of token rows."""

    def __init__(self, weights: Weights, sizes: BertSizes) -> None:
        """Take the tensors. Raises EngineError for one that is missing or has a wrong shape."""
        self._sizes = sizes
        self._activation = _ACTIVATIONS[sizes.activation]
        prefix = _PREFIX if any(name.startswith(_PREFIX) for name in weights.names) else ""
        root, width = f"{prefix}embeddings.", sizes.hidden
        self._words = weights.tensor(f"{root}word_embeddings.weight", sizes.vocabulary, width)
        self._positions = weights.tensor(f"{root}position_embeddings.weight", sizes.positions, width)
        self._types = weights.tensor(f"{root}token_type_embeddings.weight", sizes.types, width)
        self._norm = _norm(weights, f"{root}LayerNorm", sizes)
        self._layers = [_layer(weights, f"{prefix}encoder.layer.{number}.", sizes) for number in range(sizes.layers)]

    def embed(self, rows: Sequence[Sequence[int]], pooling: Pooling) -> Array:
        """Return one vector for each row. Raises EngineError for a token outside the vocabulary, or too many."""
        lengths = np.array([len(row) for row in rows])
        longest = int(lengths.max())
        if lengths.min() == 0 or longest > self._sizes.positions:
            msg = f"The model reads 1 to {self._sizes.positions} tokens"
            raise EngineError(msg)
        tokens = np.zeros((len(rows), longest), np.int64)
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row)] = row
        if tokens.min() < 0 or tokens.max() >= self._sizes.vocabulary:
            msg = "The tokenizer has tokens that the model does not know"
            raise EngineError(msg)
        is_token = np.arange(longest) < lengths[:, None]
        hidden = self._norm(self._words[tokens] + self._positions[:longest] + self._types[0])
        bias = np.where(is_token, np.float32(0), np.float32(-np.inf))[:, None, None, :]
        for layer in self._layers:
            hidden = layer.norm(hidden + layer.output(self._attention(layer, hidden, bias)))
            hidden = layer.last_norm(hidden + layer.outer(self._activation(layer.inner(hidden))))
        return _pooled(hidden, lengths, is_token, pooling)

    def _attention(self, layer: _Layer, hidden: Array, bias: Array) -> Array:
        count, length, width = hidden.shape
        heads = self._sizes.heads
        size = width // heads

        def split(values: Array) -> Array:
            return values.reshape(count, length, heads, size).transpose(0, 2, 1, 3)

        queries, keys, values = (split(part(hidden)) for part in (layer.query, layer.key, layer.value))
        queries = queries * np.float32(size**-0.5)
        keys = keys.transpose(0, 1, 3, 2)
        found = np.empty((count, heads, length, size), np.float32)
        step = max(1, _MAX_SCORES // (count * heads * length))
        for start in range(0, length, step):
            scores = queries[:, :, start : start + step] @ keys + bias
            scores -= scores.max(-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(-1, keepdims=True)
            found[:, :, start : start + step] = scores @ values
        return found.transpose(0, 2, 1, 3).reshape(count, length, width)


def _dense(weights: Weights, name: str, outputs: int, inputs: int) -> _Dense:
    return _Dense(weights.tensor(f"{name}.weight", outputs, inputs), weights.tensor(f"{name}.bias", outputs))


def _norm(weights: Weights, name: str, sizes: BertSizes) -> _Norm:
    weight, bias = (weights.tensor(f"{name}.{part}", sizes.hidden) for part in ("weight", "bias"))
    return _Norm(weight, bias, np.float32(sizes.epsilon))


def _layer(weights: Weights, root: str, sizes: BertSizes) -> _Layer:
    width, inner = sizes.hidden, sizes.inner
    query, key, value = (
        _dense(weights, f"{root}attention.self.{part}", width, width) for part in ("query", "key", "value")
    )
    return _Layer(
        query,
        key,
        value,
        _dense(weights, f"{root}attention.output.dense", width, width),
        _norm(weights, f"{root}attention.output.LayerNorm", sizes),
        _dense(weights, f"{root}intermediate.dense", inner, width),
        _dense(weights, f"{root}output.dense", width, inner),
        _norm(weights, f"{root}output.LayerNorm", sizes),
    )


def _pooled(hidden: Array, lengths: NDArray[np.int64], mask: NDArray[np.bool_], how: Pooling) -> Array:
    if how is Pooling.CLS:
        return hidden[:, 0]
    if how is Pooling.LAST:
        return hidden[np.arange(len(hidden)), lengths - 1]
    weights = np.asarray(mask, np.float32)[:, :, None]
    return np.asarray((hidden * weights).sum(1) / lengths[:, None], np.float32)


def _gelu(values: Array) -> Array:
    """Return GELU; the error function by Abramowitz and Stegun 7.1.26, which is right up to 1.5e-7."""
    scaled = np.abs(values) * _SQRT_HALF
    part = 1 / (1 + _ERF_P * scaled)
    series = part * (_ERF[0] + part * (_ERF[1] + part * (_ERF[2] + part * (_ERF[3] + part * _ERF[4]))))
    erf = np.copysign(1 - series * np.exp(-np.square(scaled)), values)
    return np.asarray(values * (1 + erf) / 2, np.float32)


def _gelu_tanh(values: Array) -> Array:
    inner = _SQRT_TANH * (values + np.float32(0.044715) * values**3)
    return np.asarray(values * (1 + np.tanh(inner)) / 2, np.float32)


def _relu(values: Array) -> Array:
    return np.maximum(values, np.float32(0))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu, "gelu_new": _gelu_tanh, "gelu_pytorch_tanh": _gelu_tanh, "relu": _relu,
}  # fmt: skip
