"""A batch whose rows say what a test wrote for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

import attrs

from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep

Tokens = tuple[int, ...]


@attrs.define
class _Begun:
    row: Row
    answer: Iterator[int]
    cached: int
    unread: int
    told: list[int] = attrs.field(factory=list)


@attrs.define
class FakeBatches:
    """Fulfils ``ports.batches.Batches``; ``answers`` has what is said to a prompt that ends so."""

    answers: Mapping[Tokens, Tokens]
    end: int
    """The token that ends a turn."""
    vocabulary: int = 264
    can_batch: bool = True
    places: int = 32
    piece: int = 256
    poison: int | None = None
    """A row whose prompt has this token fails."""
    is_closed: bool = False
    _waiting: dict[int, Row] = attrs.field(factory=dict, init=False)
    _begun: dict[int, _Begun] = attrs.field(factory=dict, init=False)
    _known: list[Tokens] = attrs.field(factory=list, init=False)
    """What ended rows have read and said."""

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._begun

    def admit(self, row: Row) -> None:
        self._check_open()
        if row.id in self._waiting or row.id in self._begun:
            msg = f"id {row.id} is in use"
            raise ValidationError(msg)
        row.check_vocabulary(self.vocabulary)
        self._waiting[row.id] = row

    def cancel(self, row_id: int) -> None:
        self._waiting.pop(row_id, None)
        begun = self._begun.pop(row_id, None)
        if begun is not None and not begun.unread:
            self._known.append((*begun.row.prompt, *begun.told))

    def step(self) -> BatchStep:
        self._check_open()
        places = self.places if self.can_batch else 1
        while self._waiting and len(self._begun) < places:
            self._begin(self._waiting.pop(next(iter(self._waiting))))
        errors = self._failed()
        steps = tuple(self._told(begun) for begun in list(self._begun.values()) if not begun.unread)
        self._read()
        return BatchStep(steps, errors)

    def close(self) -> None:
        self.is_closed = True
        self._waiting.clear()
        self._begun.clear()

    def _check_open(self) -> None:
        if self.is_closed:
            msg = "closed"
            raise EngineError(msg)

    def _begin(self, row: Row) -> None:
        cached = max((_common(known, row.prompt[:-1]) for known in self._known), default=0)
        self._begun[row.id] = _Begun(row, iter(self._answer(row)), cached, len(row.prompt) - cached)

    def _answer(self, row: Row) -> Tokens:
        if row.sampling.temperature:
            random = Random(f"{row.sampling.seed} {row.prompt}")
            return tuple(random.randrange(self.end) for _ in range(row.max_tokens))
        known = ((end, said) for end, said in self.answers.items() if row.prompt[-len(end) :] == end)
        return max(known, default=((), (self.end,)))[1]

    def _failed(self) -> tuple[RowError, ...]:
        ill = [begun.row.id for begun in self._begun.values() if self.poison in begun.row.prompt and not begun.unread]
        for row_id in ill:
            del self._begun[row_id]
        return tuple(RowError(row_id, EngineError("The model could not be run")) for row_id in ill)

    def _read(self) -> None:
        """Read a piece of the prompts, the same share of each."""
        unread = [begun for begun in self._begun.values() if begun.unread]
        for begun in unread:
            begun.unread = max(0, begun.unread - max(1, self.piece // len(unread)))

    def _told(self, begun: _Begun) -> RowStep:
        row, token = begun.row, next(begun.answer)
        begun.told.append(token)
        ended = FinishReason.LENGTH if len(begun.told) == row.max_tokens else None
        if token == self.end:
            ended = FinishReason.STOP
        if ended is not None:
            self.cancel(row.id)
        if row.top_logprobs is None:
            return RowStep(row.id, token, ended, cached=begun.cached)
        others = [other for other in range(row.top_logprobs) if other != token]
        top = ((token, -0.5), *((other, -9.0) for other in others))[: row.top_logprobs]
        return RowStep(row.id, token, ended, -0.5, top, begun.cached)


def _common(one: Tokens, other: Tokens) -> int:
    longest = min(len(one), len(other))
    return next((place for place in range(longest) if one[place] != other[place]), longest)
