"""What a model process carries: an engine that answers generation requests with one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Accepted, Delta
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest

Rendered = TypeVar("Rendered")
Prepared = TypeVar("Prepared")


class Engine(Protocol[Rendered, Prepared]):
    """The engine of one loaded model. ``render`` and ``tokenize`` may run in any thread, the rest in one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether no request runs or waits. Raises nothing."""
        ...

    def render(self, request: GenerationRequest) -> Rendered:
        """Return the prompts of a request. Raises ValidationError, ContextLengthExceeded, TemplateError, ServerBusy."""
        ...

    def tokenize(self, request: GenerationRequest, rendered: Rendered) -> Prepared:
        """Return a request ready to be submitted. Raises ContextLengthExceeded, EngineError."""
        ...

    def submit(self, request_id: int, prepared: Prepared) -> Accepted:
        """Accept a request. Raises ValidationError, EngineError; nothing of it runs then."""
        ...

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored. Raises nothing."""
        ...

    def step(self) -> Sequence[tuple[int, Delta | KnifeError]]:
        """Run one step; return the events, each with the id of its request. Raises EngineError if it is closed."""
        ...

    def close(self) -> None:
        """Free the model. Raises nothing."""
        ...


class EngineOpener(Protocol[Rendered, Prepared]):
    """Opens the engine of a model process."""

    def prepare(self) -> None:
        """Do what takes time and does not depend on the model. Raises nothing."""
        ...

    def open(self, request: LoadRequest) -> Engine[Rendered, Prepared]:
        """Load a model. Raises ValidationError, EngineError."""
        ...
