"""The server over fake models: a real model pool, fake model processes, and answers that a test wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import attrs
from starlette.applications import Starlette

from mlxknife.domain.catalog.services.runnable import RunnableModel
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError, ModelNotFound
from mlxknife.domain.generation.values.answer import (
    Delta,
    FinishReason,
    TextDelta,
    TextKind,
    TokenLogprob,
    Usage,
)
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.models.values.info import Framework, ModelInfo, ModelTraits, ModelType
from mlxknife.domain.models.values.snapshot import Location, SnapshotFacts
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.reranking.services.engine import RerankingEngine
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModel, ServableModels
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from tests.fakes.embedding_model import fake_engine
from tests.fakes.processes import FakeModel, FakeProcesses
from tests.fakes.reranking_model import SETTINGS, FakeRerankingModel
from tests.fakes.system import FakeSystem

NAME = "org/model"
EMBEDDER = "org/embedder"
RERANKER = "org/reranker"
_TYPES = {EMBEDDER: ModelType.EMBEDDING, RERANKER: ModelType.RERANKER}


def answer(*tokens: str, reasoning: Sequence[str] = ()) -> tuple[Delta, ...]:
    """Return the deltas of an answer of these tokens, and its end."""
    reasoned = [Delta(texts=(TextDelta(TextKind.REASONING, token),)) for token in reasoning]
    answered = [
        Delta(
            texts=(TextDelta(TextKind.ANSWER, token),),
            logprobs=(TokenLogprob(token, token.encode(), -0.5, (TokenLogprob("x", b"x", -1.5),)),),
        )
        for token in tokens
    ]
    usage = Usage(prompt_tokens=5, completion_tokens=len(reasoned) + len(answered), cached_tokens=2)
    return (*reasoned, *answered, Delta(finish_reason=FinishReason.STOP, usage=usage))


def calling(*calls: ToolCall, text: str = "") -> tuple[Delta, ...]:
    """Return the deltas of an answer with a text and then calls, one character in each."""
    deltas = [Delta(texts=(TextDelta(TextKind.ANSWER, character),)) for character in text]
    for index, call in enumerate(calls):
        parts = [ToolCallDelta(index, call.id, call.name)]
        parts += [ToolCallDelta(index, arguments=character) for character in call.arguments]
        deltas += [Delta(tool_calls=(part,)) for part in parts]
    return (*deltas, Delta(finish_reason=FinishReason.TOOL_CALLS, usage=Usage(5, 9, 2)))


HELLO = answer("Hel", "lo", " wörld")


@attrs.define
class _Running:
    count: int
    """The number of answers."""
    steps: int = 0


@attrs.define
class FakeEngine:
    """Fulfils ``ports.engines.engine.Engine``: each step gives the next delta of every running answer."""

    answers: Sequence[Sequence[Delta]] = (HELLO,)
    """The first answer to a request is the first of them, and so on; after the last one they repeat."""
    prepare_error: KnifeError | None = None
    """Refuses every request."""
    failure: KnifeError | None = None
    """Ends every request in the step ``fails_at``."""
    fails_at: int = 0
    notes: tuple[str, ...] = ()
    requests: list[GenerationRequest] = attrs.field(factory=list)
    _running: dict[int, _Running] = attrs.field(factory=dict)

    @property
    def is_idle(self) -> bool:
        return not self._running

    def render(self, request: GenerationRequest) -> GenerationRequest:
        if self.prepare_error is not None:
            raise self.prepare_error
        return request

    def tokenize(self, request: GenerationRequest, rendered: GenerationRequest) -> GenerationRequest:
        assert request is rendered
        return request

    def submit(self, request_id: int, prepared: GenerationRequest) -> Accepted:
        self.requests.append(prepared)
        self._running[request_id] = _Running(prepared.answer_count)
        return Accepted(5)

    def cancel(self, request_id: int) -> None:
        self._running.pop(request_id, None)

    def step(self) -> list[tuple[int, Delta | KnifeError]]:
        events: list[tuple[int, Delta | KnifeError]] = []
        for request_id, running in list(self._running.items()):
            if self.failure is not None and running.steps == self.fails_at:
                events.append((request_id, self.failure))
                del self._running[request_id]
                continue
            deltas = self._deltas(running)
            events += [(request_id, delta) for delta in deltas]
            running.steps += 1
            if not deltas:
                del self._running[request_id]
        return events

    def close(self) -> None:
        self._running.clear()

    def _deltas(self, running: _Running) -> list[Delta]:
        return [
            attrs.evolve(deltas[running.steps], index=index)
            for index in range(running.count)
            if running.steps < len(deltas := self.answers[index % len(self.answers)])
        ]


@attrs.define
class FakeServableModels:
    """Stands for ``ServableModels``, which reads the disk."""

    names: tuple[str, ...] = (NAME,)
    find_error: Exception | None = None
    _found: dict[str, ServableModel] = attrs.field(factory=dict)

    def models(self, unloadable: Collection[tuple[str, str]] = ()) -> tuple[ModelInfo, ...]:
        return tuple(servable(name).info for name in self.names if name not in dict(unloadable))

    def known(self, spec: str) -> ServableModel | None:
        return self._found.get(spec) if self.find_error is None else None

    def find(self, spec: str) -> ServableModel:
        if self.find_error is not None:
            raise self.find_error
        if spec not in (*self.names, *_TYPES):
            msg = f"No model '{spec}'"
            raise ModelNotFound(msg)
        return self._found.setdefault(spec, servable(spec))


@attrs.define(eq=False)
class FakeBackend:
    """What is behind a server: a language model, and an embedding model and a reranker that are not listed."""

    models: FakeServableModels = attrs.field(factory=FakeServableModels)
    engine: FakeEngine = attrs.field(factory=FakeEngine)
    options: Options = attrs.field(factory=Options)
    processes: FakeProcesses = attrs.field(init=False)
    pool: ModelPool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.processes = FakeProcesses(self._places())
        self.pool = ModelPool(self.processes, FakeSystem())

    @property
    def leases(self) -> list[Lease]:
        return [lease for loaded in self.pool.loaded() for lease in loaded.leases]

    def fail_to_load(self, error: KnifeError) -> None:
        """Let every load fail from now on."""
        self.processes.models = self._places(error)

    def app(self) -> Starlette:
        """Return the server."""
        return create_app(cast("ServableModels", self.models), self.pool, self.options)

    def _places(self, failure: KnifeError | None = None) -> Mapping[str, FakeModel]:
        embedder = FakeModel(fake_engine, failure)
        reranker = FakeModel(lambda: RerankingEngine(FakeRerankingModel(), SETTINGS), failure)
        return {NAME: FakeModel(lambda: self.engine, failure), EMBEDDER: embedder, RERANKER: reranker}


def servable(name: str, revision: str = "") -> ServableModel:
    """Return a model that needs no memory; ``revision`` distinguishes models of the same name."""
    place = f"{name}{revision}"
    info = model_info(name, _TYPES.get(name, ModelType.CHAT))
    return ServableModel(RunnableModel(info, Location(place, (place,)), SnapshotFacts()))


def model_info(name: str, model_type: ModelType) -> ModelInfo:
    traits = ModelTraits(Framework.MLX, model_type, (), None, 4096)
    return ModelInfo(name, "0" * 40, 1, 1_700_000_000.5, traits, Integrity.STRUCTURAL, True, None, True, None)  # noqa: FBT003
