"""An engine whose models say what a test wrote for them, a text for each token."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.model.generation import FinishReason, Step, TokenRequest
from mlxknife.domain.model.snapshot import Location
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

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        self.read.append((text, is_rendered))
        words = tuple(len(word) for word in text.split())
        return words if is_rendered else (_BEGIN, *words)

    def generate(self, request: TokenRequest) -> Generator[Step]:
        self._answers.append(self._answer(request))
        return self._answers[-1]

    def close(self) -> None:
        self.is_closed = True

    def _answer(self, request: TokenRequest) -> Generator[Step]:
        self.requests.append(request)
        self.is_answering = True
        last = min(len(self.script), request.max_tokens)
        try:
            for number, text in enumerate(self.script[:last], 1):
                if self.clock is not None:
                    self.clock.time += self.seconds
                self.told += 1
                yield Step(text, self._ending(number, request) if number == last else None)
            if self.failure is not None:
                raise self.failure
        finally:
            self.is_answering = False

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

    def load(self, location: Location, profile: str) -> FakeModel:
        if self.failure is not None:
            raise self.failure
        if self.clock is not None:
            self.clock.time += self.seconds
        self.loaded.append((location, profile))
        return self.model
