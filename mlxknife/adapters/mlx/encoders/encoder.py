"""An encoder: rows of tokens become a vector each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mlxknife.adapters.mlx.encoders.bert import Bert
from mlxknife.adapters.mlx.encoders.decoders import Decoder
from mlxknife.adapters.mlx.encoders.layers import Network
from mlxknife.adapters.mlx.encoders.modernbert import ModernBert
from mlxknife.adapters.mlx.encoders.operations import Operations
from mlxknife.adapters.mlx.encoders.token_batch import TokenBatch
from mlxknife.adapters.mlx.encoders.weights import Floats, Weights
from mlxknife.domain.encoders.values import EncoderConfig, Family, Pooling

_NETWORKS: dict[Family, type[Bert | ModernBert | Decoder]] = {
    Family.BERT: Bert,
    Family.ROBERTA: Bert,
    Family.MODERNBERT: ModernBert,
    Family.QWEN3: Decoder,
    Family.GEMMA3: Decoder,
}


class Encoder:
    """The encoder of an embedding model or a reranker. Several threads may use it at once, if numpy computes."""

    def __init__(self, weights: Weights, config: EncoderConfig, operations: Operations) -> None:
        """Take the tensors. Raises EngineError for one that is missing or has a wrong shape."""
        self._config = config
        self._operations = operations
        self._network: Network = _NETWORKS[config.family](operations, weights, config)

    def embed(
        self, rows: Sequence[Sequence[int]], pooling: Pooling, types: Sequence[Sequence[int]] | None = None
    ) -> Floats:
        """Return one vector for each row; ``types`` are the token types. Raises EngineError for impossible tokens."""
        vectors = None
        for vectors in self.steps(rows, pooling, types):  # noqa: B007 - the last one counts
            pass
        assert vectors is not None  # noqa: S101 - the last step gives them
        return vectors

    def steps(
        self, rows: Sequence[Sequence[int]], pooling: Pooling, types: Sequence[Sequence[int]] | None = None
    ) -> Iterator[Floats | None]:
        """Compute the same layer by layer: yield None after each layer, and the vectors at last. Raises EngineError."""
        batch = TokenBatch(rows, self._config, types)
        hidden = self._network.embed(batch)
        for layer in self._network.layers:
            hidden = self._operations.computed(layer(hidden, batch))
            yield None
        yield _pooled(self._operations.floats(self._network.finish(hidden)), batch, pooling)


def _pooled(hidden: Floats, batch: TokenBatch, pooling: Pooling) -> Floats:
    if pooling is Pooling.CLS:
        return np.asarray(hidden[:, 0])
    if pooling is Pooling.LAST:
        return np.asarray(hidden[np.arange(len(hidden)), batch.lengths - 1])
    weights = np.asarray(batch.is_token, np.float32)[:, :, None]
    return np.asarray((hidden * weights).sum(1) / batch.lengths[:, None], np.float32)
