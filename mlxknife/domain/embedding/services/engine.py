"""The engine of an embedding model: it answers embedding requests in batches. The model process carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mlxknife.domain.embedding.rules import batches, settings, vectors
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import ContextLengthExceeded, EngineError, KnifeError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.ports.engines.embedding import EmbeddingModel


@attrs.frozen
class EncodedText:
    """A text as tokens."""

    tokens: tuple[int, ...]
    is_truncated: bool


@attrs.frozen(eq=False)
class _Row:
    request_id: int
    index: int
    text: EncodedText


class EmbeddingEngine:
    """Embeds the texts of all requests in batches of similar length.

    ``render`` and ``tokenize`` may run in any thread. The other methods belong to the thread that loaded the model.
    """

    def __init__(self, model: EmbeddingModel) -> None:
        """Take a loaded model. Raises ModelNotRunnable for settings that are not supported."""
        self._model = model
        self._settings = settings.read(model.documents)
        self._rows: list[_Row] = []
        """The texts that wait, in order of arrival."""
        self._is_closed = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each."""
        return self._model.notes

    @property
    def is_idle(self) -> bool:
        """Whether no text waits."""
        return not self._rows

    def render(self, request: EmbeddingRequest) -> tuple[str | tuple[int, ...], ...]:
        """Return the texts of a request with their prompt, and token ids as they are. Raises ValidationError."""
        if not request.texts:
            msg = "There is no text to embed"
            raise ValidationError(msg, param="input")
        prompt = settings.prompt(self._settings, request)
        return tuple(prompt + text if isinstance(text, str) else text for text in request.texts)

    def tokenize(self, request: EmbeddingRequest, rendered: Sequence[str | tuple[int, ...]]) -> tuple[EncodedText, ...]:
        """Return the texts as tokens, truncated to what the model reads where the request allows it.

        Raises ContextLengthExceeded, ValidationError for a token outside the vocabulary, EngineError.
        """
        limit = self._settings.max_tokens
        found = list[EncodedText]()
        for index, text in enumerate(rendered):
            if isinstance(text, str):
                encoded = EncodedText(*self._model.encode(text, limit))
            else:
                self._check_tokens(text, index)
                encoded = EncodedText(text[:limit], len(text) > limit)
            if encoded.is_truncated and not request.allows_truncation:
                place = f"input[{index}]"
                msg = f"This model's maximum context length is {limit} tokens, and {place} is longer"
                raise ContextLengthExceeded(msg, param=place, hint=HintCode.ALLOW_TRUNCATION)
            found.append(encoded)
        return tuple(found)

    def submit(self, request_id: int, prepared: Sequence[EncodedText]) -> Accepted:
        """Add the texts of a request. Raises EngineError if the model is closed."""
        self._check_open()
        self._rows += [_Row(request_id, index, text) for index, text in enumerate(prepared)]
        return Accepted(sum(len(text.tokens) for text in prepared))

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored."""
        self._rows = [row for row in self._rows if row.request_id != request_id]

    def step(self) -> list[tuple[int, Embedding | KnifeError]]:
        """Embed one batch; return the embeddings, each with the id of its request. An error ends its request.

        Raises EngineError if the model is closed.
        """
        self._check_open()
        chosen = batches.next_batch([len(row.text.tokens) for row in self._rows])
        rows = [self._rows[position] for position in chosen]
        left = set(chosen)
        self._rows = [row for position, row in enumerate(self._rows) if position not in left]
        try:
            found = self._model.embed([row.text.tokens for row in rows], self._settings.pooling) if rows else ()
        except KnifeError as exc:
            return self._failed({row.request_id: exc for row in rows})
        events, failures = list[tuple[int, Embedding | KnifeError]](), dict[int, KnifeError]()
        for row, vector in zip(rows, found, strict=True):
            try:
                unit = vectors.normalized(vector)
            except EngineError as exc:
                failures.setdefault(row.request_id, exc)
                continue
            text = row.text
            events.append((row.request_id, Embedding(row.index, unit, len(text.tokens), text.is_truncated)))
        return [event for event in events if event[0] not in failures] + self._failed(failures)

    def close(self) -> None:
        """Free the model."""
        self._rows.clear()
        self._is_closed = True
        self._model.close()

    def _check_tokens(self, tokens: Sequence[int], index: int) -> None:
        config = self._model.documents.get(filenames.CONFIG)
        size = configs.count(config, "vocab_size") if isinstance(config, Mapping) else None
        place = f"input[{index}]"
        if not tokens:
            msg = f"{place} has no tokens"
            raise ValidationError(msg, param=place)
        if min(tokens) < 0 or (size is not None and max(tokens) >= size):
            msg = f"{place} has a token id that the model does not know"
            raise ValidationError(msg, param=place, hint=HintCode.MODEL_TOKENS)

    def _failed(self, failures: dict[int, KnifeError]) -> list[tuple[int, Embedding | KnifeError]]:
        for request_id in failures:
            self.cancel(request_id)
        return list(failures.items())

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "The model is closed"
            raise EngineError(msg)
