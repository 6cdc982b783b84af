"""The domain side of the server, whose models say what a test wrote for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum

import attrs

from mlxknife.domain.errors import KnifeError, ModelNotFound
from mlxknife.domain.generation.values.generation import FinishReason, Piece, PieceKind, Usage
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, TokenLikelihood, Told
from mlxknife.domain.models.values.info import Framework, ModelInfo, ModelTraits, ModelType
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.serving.values.processes import HostedModel, ResidentEvent

NAME = "org/model"
MODEL = HostedModel(tokenizer="{}", vocabulary_size=100)
Request = ChatRequest | TextRequest
OnTold = Callable[[int, Told | KnifeError], None]


def answer(*words: str, reasoning: Sequence[str] = ()) -> tuple[Told, ...]:
    """Return what is told of an answer of these words, a token each, and of its end."""
    thoughts = [Told(pieces=(Piece(PieceKind.REASONING, word),)) for word in reasoning]
    said = [
        Told(
            pieces=(Piece(PieceKind.ANSWER, word),),
            likelihoods=(TokenLikelihood(word, word.encode(), -0.5, (TokenLikelihood("x", b"x", -1.5),)),),
        )
        for word in words
    ]
    usage = Usage(prompt_tokens=5, completion_tokens=len(thoughts) + len(said), cached_tokens=2)
    return (*thoughts, *said, Told(ended=FinishReason.STOP, usage=usage))


HELLO = answer("Hel", "lo", " wörld")


class FakeState(Enum):
    LOADING = "loading"
    READY = "ready"


@attrs.frozen
class FakeServed:
    info: ModelInfo
    key: str = "key"


@attrs.define
class FakeServing:
    """Fulfils ``http.needs.Serving``."""

    names: tuple[str, ...] = (NAME,)
    find_error: Exception | None = None
    prepare_error: Exception | None = None
    prepare_seconds: float = 0.0
    listings: int = 0
    found: dict[str, FakeServed] = attrs.field(factory=dict)
    requests: list[Request] = attrs.field(factory=list)

    def models(self) -> tuple[ModelInfo, ...]:
        self.listings += 1
        return tuple(map(info, self.names))

    def known(self, spec: str) -> FakeServed | None:
        return self.found.get(spec) if self.find_error is None else None

    def find(self, spec: str) -> FakeServed:
        if self.find_error is not None:
            raise self.find_error
        if spec not in self.names:
            msg = f"No model '{spec}'"
            raise ModelNotFound(msg)
        return self.found.setdefault(spec, FakeServed(info(spec)))

    def prepare(self, served: FakeServed, model: HostedModel, request: Request) -> Request:
        assert isinstance(served, FakeServed)
        assert model is MODEL
        self.requests.append(request)
        time.sleep(self.prepare_seconds)
        if self.prepare_error is not None:
            raise self.prepare_error
        return request


@attrs.define(eq=False)
class FakeResident:
    name: str
    state: FakeState = FakeState.READY
    running: int = 0


@attrs.define(eq=False)
class FakeClaim:
    """Fulfils ``http.needs.Claim``: tells one thing a step, of all answers together."""

    residents: FakeResidents
    model: HostedModel = MODEL
    answered: Request | None = None
    is_cancelled: bool = False
    is_released: bool = False
    told: int = 0
    _on_told: OnTold | None = None

    def answer(self, prepared: Request, on_told: OnTold) -> None:
        self.answered, self._on_told = prepared, on_told
        self._later()

    def cancel(self) -> None:
        self.is_cancelled = True

    def release(self) -> None:
        self.cancel()
        if not self.is_released:
            self.residents.claims.remove(self)
        self.is_released = True

    def _later(self) -> None:
        asyncio.get_running_loop().call_later(self.residents.step_seconds, self._step)

    def _step(self) -> None:
        if self.is_cancelled or self._on_told is None or self.answered is None:
            return
        said = self.residents.says
        prompts = len(self.answered.prompts) if isinstance(self.answered, TextRequest) else 1
        if self.told == self.residents.fails_at:
            self._on_told(0, self.residents.failure)
            return
        if self.told < len(said):
            for index in range(prompts * self.answered.wanted.count):
                self._on_told(index, said[self.told])
            self.told += 1
            self._later()


@attrs.define
class FakeResidents:
    """Fulfils ``http.needs.Residents``."""

    says: Sequence[Told] = HELLO
    step_seconds: float = 0.0
    load_seconds: float | None = None
    """None: every model is there at once."""
    claim_error: KnifeError | None = None
    fails_at: int = -1
    failure: KnifeError = attrs.field(factory=lambda: KnifeError("failed"))
    claims: list[FakeClaim] = attrs.field(factory=list)
    forgotten: int = 0
    ticks: int = 0
    is_closed: bool = False
    made: list[FakeClaim] = attrs.field(factory=list)
    on_event: Callable[[ResidentEvent], None] | None = None
    keeps: bool = False

    def claim(self, served: FakeServed, on_claim: Callable[[FakeClaim | KnifeError], None]) -> Callable[[], None]:
        assert isinstance(served, FakeServed)
        if self.load_seconds is None:
            self._grant(on_claim)
            return self._forget
        timer = asyncio.get_running_loop().call_later(self.load_seconds, self._grant, on_claim)

        def forget() -> None:
            timer.cancel()
            self._forget()

        return forget

    def loaded(self) -> tuple[FakeResident, ...]:
        return (FakeResident(NAME, FakeState.READY, len(self.claims)),)

    def tick(self) -> None:
        self.ticks += 1

    def close(self) -> None:
        self.is_closed = True

    def _grant(self, on_claim: Callable[[FakeClaim | KnifeError], None]) -> None:
        if self.claim_error is not None:
            on_claim(self.claim_error)
            return
        claim = FakeClaim(self)
        self.claims.append(claim)
        self.made.append(claim)
        on_claim(claim)

    def _forget(self) -> None:
        self.forgotten += 1


def info(name: str) -> ModelInfo:
    traits = ModelTraits(Framework.MLX, ModelType.CHAT, (), None, 4096)
    return ModelInfo(name, "0" * 40, 1, 1_700_000_000.5, traits, Integrity.STRUCTURAL, True, None, True, None)  # noqa: FBT003
