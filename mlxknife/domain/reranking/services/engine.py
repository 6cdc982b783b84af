"""The engine of a reranker: it scores the documents of all requests in batches. The model process carries it."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.encoders.services.batch_queue import BatchQueue
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import EngineError, KnifeError, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.reranking.rules import prompts, ranking, settings
from mlxknife.domain.reranking.values import EncodedPair, Pair, RerankerSettings, RerankRequest, Score
from mlxknife.ports.engines.reranking import RerankingModel, RerankingModelLoader


class RerankingEngine:
    """Scores documents.

    ``render`` and ``tokenize`` may run in any thread. The other methods belong to the thread that loaded the model.
    """

    def __init__(self, model: RerankingModel, found: RerankerSettings) -> None:
        """Take a loaded model, and what its files say."""
        self._model = model
        self._settings = found
        self._queue: BatchQueue[EncodedPair, float] = BatchQueue(model.start, model.batch_rows)
        self._is_closed = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each."""
        return self._model.notes

    @property
    def is_idle(self) -> bool:
        """Whether no document waits or is being scored."""
        return self._queue.is_idle

    def render(self, request: RerankRequest) -> tuple[Pair, ...]:
        """Return what the model reads for each document. Raises ValidationError."""
        for name in ("query", "documents"):
            if not getattr(request, name):
                msg = f"{name} is empty"
                raise ValidationError(msg, param=name)
        return tuple(prompts.pair(self._settings.config, request, document) for document in request.documents)

    def tokenize(self, request: RerankRequest, rendered: Sequence[Pair]) -> tuple[EncodedPair, ...]:
        """Return the pairs as tokens, truncated to what the model reads. Raises EngineError."""
        del request
        return tuple(self._model.encode(pair, self._settings.max_tokens) for pair in rendered)

    def submit(self, request_id: int, prepared: Sequence[EncodedPair]) -> Accepted:
        """Add the pairs of a request. Raises EngineError if the model is closed."""
        self._check_open()
        lengths = [len(pair.tokens) for pair in prepared]
        self._queue.add(request_id, prepared, lengths)
        return Accepted(sum(lengths))

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored."""
        self._queue.cancel(request_id)

    def step(self) -> list[tuple[int, Score | KnifeError]]:
        """Compute a part of a batch; at its end, return its scores, each with the id of its request.

        Raises EngineError if the model is closed.
        """
        self._check_open()
        result = self._queue.step()
        failures, events = result.failures, list[tuple[int, Score | KnifeError]]()
        for row, logit in result.values:
            try:
                score = ranking.score(logit)
            except EngineError as exc:
                failures.setdefault(row.request_id, exc)
                self._queue.cancel(row.request_id)
                continue
            events.append((row.request_id, Score(row.index, score, row.length, row.text.is_truncated)))
        return [event for event in events if event[0] not in failures] + list(failures.items())

    def close(self) -> None:
        """Free the model."""
        self._queue.clear()
        self._is_closed = True
        self._model.close()

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "The model is closed"
            raise EngineError(msg)


def open_engine(loader: RerankingModelLoader, request: LoadRequest) -> RerankingEngine:
    """Load a reranker into an engine. Raises ModelNotRunnable, EngineError."""
    found = settings.read(loader.documents(request, settings.DOCUMENTS))
    return RerankingEngine(loader.load(request, found.config), found)
