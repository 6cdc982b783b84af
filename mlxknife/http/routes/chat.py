"""``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec
from msgspec import UNSET

from mlxknife.domain.generation.values.generation import FinishReason, PieceKind, Usage
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from mlxknife.http.exchange import Order, Whole
from mlxknife.http.wire.chat_request import ChatBody, chat_request
from mlxknife.http.wire.documents import (
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    ChatMessage,
    ChunkChoice,
    Delta,
    TokenLogprob,
    TopLogprob,
)
from mlxknife.http.wire.reading import read
from mlxknife.http.wire.writing import Letterhead, end, letterhead, usage_object


def order(body: bytes) -> Order:
    """Return what a body asks for. Raises Refusal, naming the field."""
    asked = read(body, ChatBody)
    request = chat_request(asked)
    form = ChatForm(letterhead("chatcmpl", asked.model), asked.wants_usage, request.wanted.top_logprobs is not None)
    return Order(asked.model, request, request.wanted.count, bool(asked.stream), asked.wants_usage, form)


@attrs.frozen
class ChatForm:
    """How the chat endpoint writes its answers down."""

    head: Letterhead
    has_usage: bool
    has_logprobs: bool

    def opening(self, count: int) -> Sequence[msgspec.Struct]:
        """Return the events that say whose turn it is."""
        role = Delta(role="assistant", content="")
        return [self._chunk(ChunkChoice(index, role)) for index in range(count)]

    def events(self, index: int, told: Told) -> Sequence[msgspec.Struct]:
        """Return an event for each piece, and one for the end."""
        deltas = [
            Delta(reasoning_content=piece.text) if piece.kind is PieceKind.REASONING else Delta(content=piece.text)
            for piece in told.pieces
        ]
        logprobs = _logprobs(told.likelihoods) if self.has_logprobs and told.likelihoods else None
        if logprobs is not None and not deltas:
            deltas = [Delta(content="")]
        chunks = [
            self._chunk(ChunkChoice(index, delta, None if number else logprobs)) for number, delta in enumerate(deltas)
        ]
        if told.ended is not None:
            chunks.append(self._chunk(ChunkChoice(index, Delta(), None, end(told.ended))))
        return chunks

    def tokens(self, usage: Usage) -> msgspec.Struct:
        """Return the event that tells the number of tokens, and nothing else."""
        head = self.head
        return ChatChunk(id=head.id, created=head.created, model=head.model, choices=(), usage=usage_object(usage))

    def document(self, answers: Sequence[Whole], usage: Usage) -> msgspec.Struct:
        """Return the whole answer."""
        head = self.head
        return ChatCompletion(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=tuple(self._choice(index, answer) for index, answer in enumerate(answers)),
            usage=usage_object(usage),
        )

    def _choice(self, index: int, answer: Whole) -> ChatChoice:
        message = ChatMessage(
            content=answer.text(PieceKind.ANSWER), reasoning_content=answer.text(PieceKind.REASONING) or UNSET
        )
        logprobs = _logprobs(answer.likelihoods) if self.has_logprobs else None
        return ChatChoice(index, message, logprobs, end(answer.ended or FinishReason.STOP))

    def _chunk(self, choice: ChunkChoice) -> ChatChunk:
        head, usage = self.head, None if self.has_usage else UNSET
        return ChatChunk(id=head.id, created=head.created, model=head.model, choices=(choice,), usage=usage)


def _logprobs(likelihoods: Sequence[TokenLikelihood]) -> ChatLogprobs:
    return ChatLogprobs(
        tuple(
            TokenLogprob(
                one.token,
                one.logprob,
                list(one.content),
                tuple(TopLogprob(other.token, other.logprob, list(other.content)) for other in one.top),
            )
            for one in likelihoods
        )
    )
