"""``POST /v1/completions``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec
from msgspec import UNSET

from mlxknife.domain.generation.values.generation import FinishReason, Usage
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from mlxknife.http.exchange import Order, Whole
from mlxknife.http.wire.documents import TextChoice, TextCompletion, TextLogprobs
from mlxknife.http.wire.reading import read
from mlxknife.http.wire.text_request import TextBody, text_request
from mlxknife.http.wire.writing import Letterhead, end, letterhead, usage_object


def order(body: bytes) -> Order:
    """Return what a body asks for. Raises Refusal, naming the field."""
    asked = read(body, TextBody)
    request = text_request(asked)
    form = TextForm(letterhead("cmpl", asked.model), asked.wants_usage, request.wanted.top_logprobs is not None)
    count = request.wanted.count * len(request.prompts)
    return Order(asked.model, request, count, bool(asked.stream), asked.wants_usage, form)


@attrs.frozen
class TextForm:
    """How the text endpoint writes its answers down."""

    head: Letterhead
    has_usage: bool
    has_logprobs: bool
    _lengths: dict[int, int] = attrs.field(factory=dict, init=False)
    """How long each text is by now, for the places of its tokens."""

    def opening(self, count: int) -> Sequence[msgspec.Struct]:
        """Return nothing: a text begins with its text."""
        del count
        return []

    def events(self, index: int, told: Told) -> Sequence[msgspec.Struct]:
        """Return an event for what is new, and one for the end."""
        text = "".join(piece.text for piece in told.pieces)
        logprobs = self._logprobs(index, told.likelihoods) if self.has_logprobs and told.likelihoods else None
        chunks = [TextChoice(index, text, logprobs)] if text or logprobs is not None else []
        if told.ended is not None:
            chunks.append(TextChoice(index, "", None, end(told.ended)))
        return [self._document((chunk,), None if self.has_usage else UNSET) for chunk in chunks]

    def tokens(self, usage: Usage) -> msgspec.Struct:
        """Return the event that tells the number of tokens, and nothing else."""
        return self._document((), usage)

    def document(self, answers: Sequence[Whole], usage: Usage) -> msgspec.Struct:
        """Return the whole answer."""
        return self._document(tuple(self._choice(index, answer) for index, answer in enumerate(answers)), usage)

    def _choice(self, index: int, answer: Whole) -> TextChoice:
        text = "".join(piece.text for piece in answer.pieces)
        logprobs = self._logprobs(index, answer.likelihoods) if self.has_logprobs else None
        return TextChoice(index, text, logprobs, end(answer.ended or FinishReason.STOP))

    def _document(self, choices: tuple[TextChoice, ...], usage: Usage | msgspec.UnsetType | None) -> TextCompletion:
        head = self.head
        told = usage_object(usage) if isinstance(usage, Usage) else usage
        return TextCompletion(id=head.id, created=head.created, model=head.model, choices=choices, usage=told)

    def _logprobs(self, index: int, likelihoods: Sequence[TokenLikelihood]) -> TextLogprobs:
        offsets, offset = [], self._lengths.get(index, 0)
        for one in likelihoods:
            offsets.append(offset)
            offset += len(one.token)
        self._lengths[index] = offset
        return TextLogprobs(
            text_offset=tuple(offsets),
            token_logprobs=tuple(one.logprob for one in likelihoods),
            tokens=tuple(one.token for one in likelihoods),
            top_logprobs=tuple({other.token: other.logprob for other in one.top} for one in likelihoods),
        )
