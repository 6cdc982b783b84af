"""An engine whose models say what a test wrote for them, a text for each token."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import attrs

from mlxknife.domain.errors import EngineError, KnifeError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason, Step, TokenRequest
from mlxknife.domain.models.values.snapshot import Location
from tests.fakes.system import FakeSystem

_BEGIN = 1
"""What stands before a text that has no special tokens yet."""


@attrs.define
class FakeModel:
    """Fulfils ``ports.engine.TextModel``: a word is a token, and ``script`` is what it says, whatever it is asked."""

    script: Sequence[str] = ("Hello", ", ", "world", "!")
    ending: FinishReason | None = FinishReason.STOP
    """What the last step of the script says."""
    failure: KnifeError | None = None
    """What happens when the script is over."""
    chat_template: str | None = None
    special_tokens: dict[str, str] = attrs.field(factory=dict)
    vocabulary: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    clock: FakeSystem | None = None
    """Moved by ``seconds`` for each token."""
    seconds: float = 0.0
    read: list[tuple[str, bool]] = attrs.field(factory=list)
    """The texts that became tokens, and whether each was rendered."""
    requests: list[TokenRequest] = attrs.field(factory=list)
    told: int = 0
    """How many steps were taken from it."""
    is_answering: bool = False
    _answers: list[Generator[Step]] = attrs.field(factory=list, init=False)
    """Kept, so that an answer which nobody closes stays open."""
    is_closed: bool = False
    _held: tuple[int, ...] = attrs.field(default=(), init=False)
    """What was read and said before."""
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _owner: int | None = attrs.field(default=None, init=False)

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        self.read.append((text, is_rendered))
        return _words(text) if is_rendered else (_BEGIN, *_words(text))

    def generate(self, request: TokenRequest) -> Generator[Step]:
        self._answers.append(self._answer(request))
        return self._answers[-1]

    def close(self) -> None:
        self.is_closed = True

    def _answer(self, request: TokenRequest) -> Generator[Step]:
        with self._taken():
            if self.is_closed:
                msg = "closed"
                raise EngineError(msg)
            self.requests.append(request)
            cached = _common(self._held, request.tokens[:-1])
            self._held = request.tokens
            yield from self._steps(request, cached)

    def _steps(self, request: TokenRequest, cached: int) -> Generator[Step]:
        self.is_answering = True
        last = min(len(self.script), request.max_tokens)
        try:
            for number, text in enumerate(self.script[:last], 1):
                if self.clock is not None:
                    self.clock.time += self.seconds
                self.told += 1
                self._held += _words(text)
                yield Step(text, self._ending(number, request) if number == last else None, cached)
            if self.failure is not None:
                raise self.failure
        finally:
            self.is_answering = False

    @contextmanager
    def _taken(self) -> Iterator[None]:
        if self._owner == threading.get_ident():
            msg = "still open"
            raise EngineError(msg)
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    def _ending(self, number: int, request: TokenRequest) -> FinishReason | None:
        if self.failure is not None:
            return None
        is_cut = number == request.max_tokens and number < len(self.script)
        return FinishReason.LENGTH if is_cut else self.ending


@attrs.define
class FakeEngine:
    """Fulfils ``ports.engine.Engine``; every place holds the same model."""

    model: FakeModel = attrs.field(factory=FakeModel)
    failure: KnifeError | None = None
    clock: FakeSystem | None = None
    """Moved by ``seconds`` for each model that is loaded."""
    seconds: float = 0.0
    loaded: list[tuple[Location, str]] = attrs.field(factory=list)
    """The places that were loaded, each with its profile."""
    drafts: list[Location | None] = attrs.field(factory=list)
    """The draft model that each of them was loaded with."""
    strangers: frozenset[str] = frozenset()
    """Places of models that have other tokens than the rest."""

    def load(self, location: Location, profile: str, *, draft: Location | None = None) -> FakeModel:
        if draft is not None and (draft.token in self.strangers) != (location.token in self.strangers):
            msg = "draft_model has other tokens"
            raise ValidationError(msg)
        if self.failure is not None:
            raise self.failure
        if self.clock is not None:
            self.clock.time += self.seconds
        self.loaded.append((location, profile))
        self.drafts.append(draft)
        return self.model


def _words(text: str) -> tuple[int, ...]:
    return tuple(len(word) for word in text.split())


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    longest = min(len(one), len(other))
    return next((place for place in range(longest) if one[place] != other[place]), longest)
