"""The services of the domain behind the server, with models that answer what a test wrote for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import cast

import attrs
from starlette.applications import Starlette

from mlxknife.domain.errors import KnifeError, ModelNotFound
from mlxknife.domain.generation.values.generation import FinishReason, Piece, PieceKind, Usage
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, TokenLikelihood, Told
from mlxknife.domain.models.values.info import Framework, ModelInfo, ModelTraits, ModelType
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.services.servable_models import Serving
from mlxknife.domain.serving.values.processes import HostedModel, ResidentEvent
from mlxknife.http.app import create_app
from mlxknife.http.options import Options

NAME = "org/model"
MODEL = HostedModel(tokenizer="{}", vocabulary_size=100)
Request = ChatRequest | TextRequest
OnEvent = Callable[[int, Told | KnifeError], None]


def answer(*words: str, reasoning: Sequence[str] = ()) -> tuple[Told, ...]:
    """Return the deltas of an answer of these words, each a token, with its end."""
    reasoned = [Told(pieces=(Piece(PieceKind.REASONING, word),)) for word in reasoning]
    said = [
        Told(
            pieces=(Piece(PieceKind.ANSWER, word),),
            likelihoods=(TokenLikelihood(word, word.encode(), -0.5, (TokenLikelihood("x", b"x", -1.5),)),),
        )
        for word in words
    ]
    usage = Usage(prompt_tokens=5, completion_tokens=len(reasoned) + len(said), cached_tokens=2)
    return (*reasoned, *said, Told(ended=FinishReason.STOP, usage=usage))


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
    """Stands for ``Serving``."""

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
class FakeLoadedModel:
    name: str
    state: FakeState = FakeState.READY
    running: int = 0


@attrs.define(eq=False)
class FakeLease:
    """Stands for ``Claim``: each step reports one delta of every answer."""

    pool: FakePool
    model: HostedModel = MODEL
    answered: Request | None = None
    is_cancelled: bool = False
    is_released: bool = False
    steps: int = 0
    _on_event: OnEvent | None = None

    def answer(self, prepared: Request, on_event: OnEvent) -> None:
        self.answered, self._on_event = prepared, on_event
        self._later()

    def cancel(self) -> None:
        self.is_cancelled = True

    def release(self) -> None:
        self.cancel()
        if not self.is_released:
            self.pool.leases.remove(self)
        self.is_released = True

    def _later(self) -> None:
        asyncio.get_running_loop().call_later(self.pool.step_seconds, self._step)

    def _step(self) -> None:
        if self.is_cancelled or self._on_event is None or self.answered is None:
            return
        deltas = self.pool.deltas
        prompts = len(self.answered.prompts) if isinstance(self.answered, TextRequest) else 1
        if self.steps == self.pool.fails_at:
            self._on_event(0, self.pool.failure)
            return
        if self.steps < len(deltas):
            for index in range(prompts * self.answered.wanted.count):
                self._on_event(index, deltas[self.steps])
            self.steps += 1
            self._later()


@attrs.define
class FakePool:
    """Stands for ``Residents``."""

    deltas: Sequence[Told] = HELLO
    step_seconds: float = 0.0
    load_seconds: float | None = None
    """None: every model is ready at once."""
    lease_error: KnifeError | None = None
    fails_at: int = -1
    failure: KnifeError = attrs.field(factory=lambda: KnifeError("failed"))
    leases: list[FakeLease] = attrs.field(factory=list)
    cancelled_waits: int = 0
    ticks: int = 0
    is_closed: bool = False
    granted: list[FakeLease] = attrs.field(factory=list)
    on_event: Callable[[ResidentEvent], None] | None = None
    keeps: bool = False

    def claim(self, served: FakeServed, on_claim: Callable[[FakeLease | KnifeError], None]) -> Callable[[], None]:
        assert isinstance(served, FakeServed)
        if self.load_seconds is None:
            self._grant(on_claim)
            return self._forget
        timer = asyncio.get_running_loop().call_later(self.load_seconds, self._grant, on_claim)

        def forget() -> None:
            timer.cancel()
            self._forget()

        return forget

    def loaded(self) -> tuple[FakeLoadedModel, ...]:
        return (FakeLoadedModel(NAME, FakeState.READY, len(self.leases)),)

    def tick(self) -> None:
        self.ticks += 1

    def close(self) -> None:
        self.is_closed = True

    def _grant(self, on_claim: Callable[[FakeLease | KnifeError], None]) -> None:
        if self.lease_error is not None:
            on_claim(self.lease_error)
            return
        lease = FakeLease(self)
        self.leases.append(lease)
        self.granted.append(lease)
        on_claim(lease)

    def _forget(self) -> None:
        self.cancelled_waits += 1


def fake_app(serving: FakeServing, pool: FakePool, options: Options | None = None) -> Starlette:
    """Return the server over fakes."""
    return create_app(cast("Serving", serving), cast("Residents", pool), options)


def info(name: str) -> ModelInfo:
    traits = ModelTraits(Framework.MLX, ModelType.CHAT, (), None, 4096)
    return ModelInfo(name, "0" * 40, 1, 1_700_000_000.5, traits, Integrity.STRUCTURAL, True, None, True, None)  # noqa: FBT003
