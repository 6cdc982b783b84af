"""Narration: the tokens of one answer as what is told of it."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.generation.rules.answer_splitter import Telling
from mlxknife.domain.generation.values.generation import FinishReason, Markers, Piece, PieceKind, Usage
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from mlxknife.domain.generation.values.rows import RowStep
from mlxknife.ports.engines.tokenizers import Tokenizer


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
        self._has_stops = any(stops)
        self._untold = list[tuple[int, TokenLikelihood]]()
        """How likely tokens were of which nothing is shown yet, each with the place where its text begins."""
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
        if step.ended is not FinishReason.STOP:  # a token that ends the turn belongs to no text
            if step.logprob is not None:
                self._untold.append((self._telling.heard, self._likelihood(step)))
            pieces += self._telling.hear(self._joining.feed(step.token))
        if step.ended is not None and not self._telling.has_stopped:
            pieces += self._telling.hear(self._joining.rest())
            pieces += self._telling.rest()
        has_stopped = self._telling.has_stopped
        ended = FinishReason.STOP if has_stopped else step.ended
        is_all = not self._has_stops or (ended is not None and not has_stopped)
        likelihoods = self._likelihoods(is_all=is_all) if self._untold else ()
        if ended is None:
            return Told(tuple(pieces), likelihoods)
        return Told(tuple(pieces), likelihoods, ended, has_stopped and step.ended is None, self._usage(step))

    def _likelihoods(self, *, is_all: bool) -> tuple[TokenLikelihood, ...]:
        """Return those of tokens whose text is shown, if only its beginning; the rest may belong to a stop string."""
        shown = tuple(one for begins, one in self._untold if is_all or begins < self._telling.shown)
        del self._untold[: len(shown)]
        return shown

    def _usage(self, step: RowStep) -> Usage:
        return Usage(self._prompt_tokens, self._count, step.cached)

    def _likelihood(self, step: RowStep) -> TokenLikelihood:
        top = tuple(self._named(token, logprob) for token, logprob in step.top)
        return self._named(step.token, step.logprob or 0.0, top)

    def _named(self, token: int, logprob: float, top: tuple[TokenLikelihood, ...] = ()) -> TokenLikelihood:
        content = self._tokenizer.bytes_of(token)
        return TokenLikelihood(content.decode("utf-8", "replace"), content, logprob, top)
