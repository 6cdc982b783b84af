"""The engine of an embedding model: it answers embedding requests in batches. The model process carries it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.embedding.rules import settings, vectors
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest, EmbeddingSettings
from mlxknife.domain.encoders.services.batch_queue import BatchQueue
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import ContextLengthExceeded, EngineError, KnifeError, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.hints import HintCode
from mlxknife.ports.engines.embedding import EmbeddingBatch, EmbeddingModel, EmbeddingModelLoader


@attrs.frozen
class EncodedText:
    """A text as tokens."""

    tokens: tuple[int, ...]
    is_truncated: bool
    dimensions: int
    """The length that its vector gets."""


class EmbeddingEngine:
    """Embeds the texts of all requests in batches of similar length.

    ``render`` and ``tokenize`` may run in any thread. The other methods belong to the thread that loaded the model.
    """

    def __init__(self, model: EmbeddingModel, found: EmbeddingSettings) -> None:
        """Take a loaded model, and what its files say."""
        self._model = model
        self._settings = found
        self._queue: BatchQueue[EncodedText, Sequence[float]] = BatchQueue(self._start, model.batch_rows)
        self._is_closed = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each."""
        return self._model.notes

    @property
    def is_idle(self) -> bool:
        """Whether no text waits or is being embedded."""
        return self._queue.is_idle

    def render(self, request: EmbeddingRequest) -> tuple[str | tuple[int, ...], ...]:
        """Return the texts of a request with their prompt, and token ids as they are. Raises ValidationError."""
        if not request.texts:
            msg = "There is no text to embed"
            raise ValidationError(msg, param="input")
        settings.dimensions(self._settings, request)
        prompt, is_lower = settings.prompt(self._settings, request), self._settings.lowers_case
        texts = (prompt + text if isinstance(text, str) else text for text in request.texts)
        return tuple(text.lower() if isinstance(text, str) and is_lower else text for text in texts)

    def tokenize(self, request: EmbeddingRequest, rendered: Sequence[str | tuple[int, ...]]) -> tuple[EncodedText, ...]:
        """Return the texts as tokens, truncated to what the model reads where the request allows it.

        Raises ContextLengthExceeded, ValidationError for a token outside the vocabulary, EngineError.
        """
        limit, length = self._settings.max_tokens, settings.dimensions(self._settings, request)
        found = list[EncodedText]()
        for index, text in enumerate(rendered):
            if isinstance(text, str):
                encoded = EncodedText(*self._model.encode(text, limit), dimensions=length)
            else:
                self._check_tokens(text, index)
                encoded = EncodedText(text[:limit], len(text) > limit, length)
            if encoded.is_truncated and not request.allows_truncation:
                place = f"input[{index}]"
                msg = f"This model's maximum context length is {limit} tokens, and {place} is longer"
                raise ContextLengthExceeded(msg, param=place, hint=HintCode.ALLOW_TRUNCATION)
            found.append(encoded)
        return tuple(found)

    def submit(self, request_id: int, prepared: Sequence[EncodedText]) -> Accepted:
        """Add the texts of a request. Raises EngineError if the model is closed."""
        self._check_open()
        lengths = [len(text.tokens) for text in prepared]
        self._queue.add(request_id, prepared, lengths)
        return Accepted(sum(lengths))

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored."""
        self._queue.cancel(request_id)

    def step(self) -> list[tuple[int, Embedding | KnifeError]]:
        """Compute a part of a batch; at its end, return its embeddings, each with the id of its request.

        A text that fails ends its request, and no other. Raises EngineError if the model is closed.
        """
        self._check_open()
        result = self._queue.step()
        failures, events = result.failures, list[tuple[int, Embedding | KnifeError]]()
        for row, vector in result.values:
            text = row.text
            try:
                unit = vectors.normalized(vector[: text.dimensions])
            except EngineError as exc:
                failures.setdefault(row.request_id, exc)
                self._queue.cancel(row.request_id)
                continue
            events.append((row.request_id, Embedding(row.index, unit, row.length, text.is_truncated)))
        return [event for event in events if event[0] not in failures] + list(failures.items())

    def close(self) -> None:
        """Free the model."""
        self._queue.clear()
        self._is_closed = True
        self._model.close()

    def _check_tokens(self, tokens: Sequence[int], index: int) -> None:
        place = f"input[{index}]"
        if not tokens:
            msg = f"{place} has no tokens"
            raise ValidationError(msg, param=place)
        if min(tokens) < 0 or max(tokens) >= self._settings.model.encoder.vocabulary:
            msg = f"{place} has a token id that the model does not know"
            raise ValidationError(msg, param=place, hint=HintCode.MODEL_TOKENS)

    def _start(self, texts: Sequence[EncodedText]) -> EmbeddingBatch:
        return self._model.start([text.tokens for text in texts])

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "The model is closed"
            raise EngineError(msg)


def open_engine(loader: EmbeddingModelLoader, request: LoadRequest) -> EmbeddingEngine:
    """Load an embedding model into an engine. Raises ModelNotRunnable, UnsupportedCapability, EngineError."""
    found = settings.read(loader.documents(request, settings.DOCUMENTS), loader.card(request))
    return EmbeddingEngine(loader.load(request, found.model), found)
