"""The engine of an embedding model: it answers embedding requests in batches. The model process carries it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from mlxknife.domain.embedding.rules import settings, vectors
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest, EmbeddingSettings
from mlxknife.domain.encoders.rules import batches
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


@attrs.frozen(eq=False)
class _Row:
    request_id: int
    index: int
    text: EncodedText
    is_alone: bool = False
    """Whether it was in a batch that failed, so that it gets one of its own."""


@attrs.frozen
class _Running:
    rows: tuple[_Row, ...]
    batch: EmbeddingBatch


class EmbeddingEngine:
    """Embeds the texts of all requests in batches of similar length.

    ``render`` and ``tokenize`` may run in any thread. The other methods belong to the thread that loaded the model.
    """

    def __init__(self, model: EmbeddingModel, found: EmbeddingSettings) -> None:
        """Take a loaded model, and what its files say."""
        self._model = model
        self._settings = found
        self._waiting: list[_Row] = []
        """The texts that wait, in order of arrival."""
        self._running: _Running | None = None
        self._cancelled = set[int]()
        """The cancelled requests with texts in the running batch."""
        self._is_closed = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each."""
        return self._model.notes

    @property
    def is_idle(self) -> bool:
        """Whether no text waits or is being embedded."""
        return not self._waiting and self._running is None

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
        self._waiting += [_Row(request_id, index, text) for index, text in enumerate(prepared)]
        return Accepted(sum(len(text.tokens) for text in prepared))

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored."""
        self._waiting = [row for row in self._waiting if row.request_id != request_id]
        if self._running is not None:
            self._cancelled.add(request_id)
            if all(row.request_id in self._cancelled for row in self._running.rows):
                self._end_batch()

    def step(self) -> list[tuple[int, Embedding | KnifeError]]:
        """Compute a part of a batch; at its end, return its embeddings, each with the id of its request.

        A text that fails ends its request, and no other. Raises EngineError if the model is closed.
        """
        self._check_open()
        rows = self._running.rows if self._running is not None else self._next_rows()
        if not rows:
            return []
        try:
            running = self._running or _Running(rows, self._model.start([row.text.tokens for row in rows]))
            self._running = running
            found = running.batch.advance()
        except KnifeError as exc:
            return self._batch_failed(rows, exc)
        if found is None:
            return []
        rows_and_vectors = [pair for pair in zip(rows, found, strict=True) if pair[0].request_id not in self._cancelled]
        self._end_batch()
        return self._events(rows_and_vectors)

    def close(self) -> None:
        """Free the model."""
        self._waiting.clear()
        self._end_batch()
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

    def _next_rows(self) -> tuple[_Row, ...]:
        """Take the texts of the next batch out of those that wait."""
        if self._waiting and self._waiting[0].is_alone:
            return (self._waiting.pop(0),)
        chosen = batches.next_batch([len(row.text.tokens) for row in self._waiting], self._model.batch_rows)
        rows = tuple(self._waiting[position] for position in chosen)
        left = set(chosen)
        self._waiting = [row for position, row in enumerate(self._waiting) if position not in left]
        return rows

    def _end_batch(self) -> None:
        self._running = None
        self._cancelled.clear()

    def _batch_failed(self, rows: Sequence[_Row], error: KnifeError) -> list[tuple[int, Embedding | KnifeError]]:
        """End the request of a text that fails alone; else let the texts of the batch wait for batches of their own."""
        rows = [row for row in rows if row.request_id not in self._cancelled]
        self._end_batch()
        if len(rows) == 1:
            return self._failed({rows[0].request_id: error})
        self._waiting[:0] = [attrs.evolve(row, is_alone=True) for row in rows]
        return []

    def _events(
        self, rows_and_vectors: Iterable[tuple[_Row, Sequence[float]]]
    ) -> list[tuple[int, Embedding | KnifeError]]:
        events, failures = list[tuple[int, Embedding | KnifeError]](), dict[int, KnifeError]()
        for row, vector in rows_and_vectors:
            text = row.text
            try:
                unit = vectors.normalized(vector[: text.dimensions])
            except EngineError as exc:
                failures.setdefault(row.request_id, exc)
                continue
            events.append((row.request_id, Embedding(row.index, unit, len(text.tokens), text.is_truncated)))
        return [event for event in events if event[0] not in failures] + self._failed(failures)

    def _failed(self, failures: dict[int, KnifeError]) -> list[tuple[int, Embedding | KnifeError]]:
        for request_id in failures:
            self.cancel(request_id)
        return list(failures.items())

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "The model is closed"
            raise EngineError(msg)


def open_engine(loader: EmbeddingModelLoader, request: LoadRequest) -> EmbeddingEngine:
    """Load an embedding model into an engine. Raises ModelNotRunnable, UnsupportedCapability, EngineError."""
    found = settings.read(loader.documents(request, settings.DOCUMENTS), loader.card(request))
    return EmbeddingEngine(loader.load(request, found.model), found)
