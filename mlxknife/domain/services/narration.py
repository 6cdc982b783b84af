"""Narration: the tokens of one answer as what is told of it."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.model.batching import RowStep
from mlxknife.domain.model.generation import FinishReason, Markers, Piece, PieceKind, Usage
from mlxknife.domain.model.serving import TokenLikelihood, Told
from mlxknife.domain.rules.telling import Telling
from mlxknife.ports.tokenizers import Tokenizer


class Narration:
    """Hears each step of one row. What it tells, put together, does not depend on how it is cut."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_tokens: int,
        *,
        marks: Markers | None = None,
        stops: Sequence[str] = (),
        echo: str = "",
        after: Sequence[int] = (),
    ) -> None:
        """Take what the answer is told by; ``echo`` is text that it begins with, ``after`` tokens that it goes on."""
        self._tokenizer = tokenizer
        self._joining = tokenizer.joining(after)
        self._telling = Telling(marks, stops)
        self._prompt_tokens = prompt_tokens
        self._echo = echo
        self._count = 0

    def hear(self, step: RowStep) -> Told:
        """Return what a step brings. Raises EngineError where the tokenizer breaks down."""
        self._count += 1
        pieces = list[Piece]()
        if self._echo:
            pieces.append(Piece(PieceKind.ANSWER, self._echo))
            self._echo = ""
        says_something = step.ended is not FinishReason.STOP  # a token that ends the turn belongs to no text
        if says_something:
            pieces += self._telling.hear(self._joining.feed(step.token))
        likelihoods = (self._likelihood(step),) if says_something and step.logprob is not None else ()
        if self._telling.has_stopped:
            return Told(tuple(pieces), likelihoods, FinishReason.STOP, step.ended is None, self._usage(step))
        if step.ended is None:
            return Told(tuple(pieces), likelihoods)
        pieces += self._telling.hear(self._joining.rest())
        pieces += self._telling.rest()
        ended = FinishReason.STOP if self._telling.has_stopped else step.ended
        return Told(tuple(pieces), likelihoods, ended, usage=self._usage(step))

    def _usage(self, step: RowStep) -> Usage:
        return Usage(self._prompt_tokens, self._count, step.cached)

    def _likelihood(self, step: RowStep) -> TokenLikelihood:
        top = tuple(self._named(token, logprob) for token, logprob in step.top)
        return self._named(step.token, step.logprob or 0.0, top)

    def _named(self, token: int, logprob: float, top: tuple[TokenLikelihood, ...] = ()) -> TokenLikelihood:
        content = self._tokenizer.bytes_of(token)
        return TokenLikelihood(content.decode("utf-8", "replace"), content, logprob, top)
