"""Rerankers: loading one, and the loaded model behind the port."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mlxknife.adapters.mlx.embedding.model import CPU_ROWS, EncoderLoader, RunningBatch, cpu_threads
from mlxknife.adapters.mlx.reranking.pair_tokenizer import PairTokenizer
from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.domain.encoders.values import RerankerConfig
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.reranking.values import EncodedPair, Pair

if TYPE_CHECKING:
    import tokenizers

    from mlxknife.adapters.mlx.encoders.encoder import Encoder
    from mlxknife.adapters.mlx.encoders.weights import Weights
    from mlxknife.adapters.mlx.reranking.heads import ScoreHead


class RerankerLoader:
    """Loads rerankers. They compute with numpy on the CPU."""

    @staticmethod
    def prepare() -> None:
        """Import what takes longest, before the model is known."""
        EncoderLoader.prepare()
        from mlxknife.adapters.mlx.reranking import heads  # noqa: F401, PLC0415 - not for other models

    @staticmethod
    def documents(request: LoadRequest, names: Sequence[str]) -> Mapping[str, object]:
        """See ``RerankingModelLoader.documents``."""
        return EncoderLoader.documents(request, names)

    @staticmethod
    def load(request: LoadRequest, config: RerankerConfig) -> EncoderReranker:
        """See ``RerankingModelLoader.load``."""
        from tokenizers import Tokenizer  # noqa: PLC0415 - loaded by now

        from mlxknife.adapters.mlx.encoders.encoder import Encoder  # noqa: PLC0415
        from mlxknife.adapters.mlx.encoders.numpy_operations import NumpyOperations  # noqa: PLC0415
        from mlxknife.adapters.mlx.encoders.weights import Weights  # noqa: PLC0415

        folder = request.location.token
        with library_errors("The model could not be loaded"):
            tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
            tokenizer.no_padding()
            weights = Weights(folder)
            head = _head(weights, config, tokenizer)
            return EncoderReranker(Encoder(weights, config.encoder, NumpyOperations()), head, tokenizer, cpu_threads())


class EncoderReranker:
    """See ``RerankingModel``."""

    def __init__(self, encoder: Encoder, head: ScoreHead, tokenizer: tokenizers.Tokenizer, threads: int) -> None:
        """Take an encoder, its head and its tokenizer, and the number of threads that compute."""
        self._encoder: Encoder | None = encoder
        self._head = head
        self._pairs = PairTokenizer(tokenizer)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "reranker") if threads > 1 else None
        self.notes: tuple[str, ...] = ("reranker: numpy on the CPU",)
        """See ``RerankingModel.notes``."""
        self.batch_rows = CPU_ROWS * threads
        """See ``RerankingModel.batch_rows``."""

    def encode(self, pair: Pair, max_tokens: int) -> EncodedPair:
        """See ``RerankingModel.encode``."""
        with library_errors("The tokenizer of the model cannot encode the text"):
            return self._pairs.encode(pair, max_tokens)

    def start(self, rows: Sequence[EncodedPair]) -> LogitBatch:
        """See ``RerankingModel.start``."""
        if self._encoder is None:
            msg = "The model is closed"
            raise EngineError(msg)
        tokens = [row.tokens for row in rows]
        types = [row.types or (0,) * len(row.tokens) for row in rows]
        with library_errors("The model failed"):
            return LogitBatch(RunningBatch(self._encoder, self._head, tokens, self._pool, self._threads, types))

    def close(self) -> None:
        """See ``RerankingModel.close``."""
        self._encoder = None
        if self._pool is not None:
            self._pool.shutdown()


class LogitBatch:
    """See ``RerankingBatch``."""

    def __init__(self, batch: RunningBatch) -> None:
        """Take a running batch whose vectors have one value."""
        self._batch = batch

    def advance(self) -> Sequence[float] | None:
        """See ``RerankingBatch.advance``."""
        found = self._batch.advance()
        return None if found is None else [vector[0] for vector in found]


def _head(weights: Weights, config: RerankerConfig, tokenizer: tokenizers.Tokenizer) -> ScoreHead:
    """Return the head of a model. Raises EngineError."""
    from mlxknife.adapters.mlx.reranking import heads  # noqa: PLC0415 - loaded by now

    if config.answers is None:
        return heads.classifier(weights, config)
    right, wrong = (tokenizer.token_to_id(answer) for answer in config.answers)
    if right is None or wrong is None or max(right, wrong) >= config.encoder.vocabulary:
        msg = f"The tokenizer has no tokens for the answers {' and '.join(config.answers)}"
        raise EngineError(msg)
    return heads.answer_head(weights, config, right, wrong)
