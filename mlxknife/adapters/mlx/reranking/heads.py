"""The heads of rerankers: from the vector of a pair to a logit. numpy computes them: there is one vector for a pair."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from mlxknife.adapters.mlx.encoders.numpy_operations import NumpyOperations
from mlxknife.adapters.mlx.encoders.weights import Floats, Table, Weights
from mlxknife.domain.encoders.values import Family, Pooling, RerankerConfig


@attrs.frozen(eq=False)
class ScoreHead:
    """What follows the encoder of a reranker."""

    pooling: Pooling
    logits: Callable[[Floats], Floats]

    def __call__(self, vectors: Floats) -> Floats:
        """Return the logit of each pair, as vectors of one value."""
        return self.logits(vectors)[:, None]


def classifier(weights: Weights, config: RerankerConfig) -> ScoreHead:
    """Return the head of a cross-encoder. Raises EngineError for a tensor that is missing or has a wrong shape."""
    family, width = config.encoder.family, config.encoder.width
    if family is Family.ROBERTA:
        hidden, last = "classifier.dense", "classifier.out_proj"
    elif family is Family.MODERNBERT:
        hidden, last = "head.dense", "classifier"
    else:
        hidden, last = f"{weights.prefix('pooler.dense', '', 'bert.')}pooler.dense", "classifier"
    inner, inner_bias = weights.tensor(f"{hidden}.weight", width, width), weights.optional(f"{hidden}.bias", width)
    outer, outer_bias = weights.tensor(f"{last}.weight", 1, width), weights.optional(f"{last}.bias", 1)
    norm = weights.tensor("head.norm.weight", width) if family is Family.MODERNBERT else None
    norm_bias = weights.optional("head.norm.bias", width)
    activation = np.tanh if config.activation == "tanh" else NumpyOperations.activation(config.activation)

    def logits(vectors: Floats) -> Floats:
        found = activation(NumpyOperations.dense(vectors, inner, inner_bias))
        if norm is not None:
            found = NumpyOperations.layer_norm(found, norm, norm_bias, config.encoder.epsilon)
        return np.asarray(NumpyOperations.dense(found, outer, outer_bias)[:, 0])

    return ScoreHead(config.pooling, logits)


def answer_head(weights: Weights, config: RerankerConfig, right: int, wrong: int) -> ScoreHead:
    """Return the head of a decoder: the difference of the logits of two tokens. Raises EngineError."""
    name = "lm_head.weight"
    if name not in weights.names:  # the vectors of the tokens are used for their logits, too
        name = f"{weights.prefix('embed_tokens', '', 'model.')}embed_tokens.weight"
    rows = Table(weights, name, config.encoder.vocabulary, config.encoder.width)[np.array([right, wrong])]
    difference = rows[0] - rows[1]
    return ScoreHead(config.pooling, lambda vectors: np.asarray(vectors @ difference))
