"""What a model process carries: an engine that answers requests with one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from mlxknife.domain.engines.values import Accepted, AnswerEvent, Event, Request
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.loading import LoadRequest

RequestT_contra = TypeVar("RequestT_contra", bound=Request[Event], contravariant=True)
Rendered = TypeVar("Rendered")
Prepared = TypeVar("Prepared")


class Engine(Protocol[RequestT_contra, Rendered, Prepared]):
    """The engine of one loaded model. ``render`` and ``tokenize`` may run in any thread, the rest in one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether no request runs or waits. Raises nothing."""
        ...

    def render(self, request: RequestT_contra) -> Rendered:
        """Return what is to be tokenized. Raises ValidationError, ContextLengthExceeded, TemplateError, ServerBusy."""
        ...

    def tokenize(self, request: RequestT_contra, rendered: Rendered) -> Prepared:
        """Return a request ready to be submitted. Raises ContextLengthExceeded, EngineError."""
        ...

    def submit(self, request_id: int, prepared: Prepared) -> Accepted:
        """Accept a request. Raises ValidationError, EngineError; nothing of it runs then."""
        ...

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored. Raises nothing."""
        ...

    def step(self) -> Sequence[tuple[int, AnswerEvent | KnifeError]]:
        """Run one step; return the events, each with the id of its request. Raises EngineError if it is closed."""
        ...

    def close(self) -> None:
        """Free the model. Raises nothing."""
        ...


AnyEngine: TypeAlias = Engine[Any, Any, Any]
"""An engine whose kind is known at run time only; it gets requests of its own kind."""


class EngineOpener(Protocol):
    """Opens the engine of a model process."""

    def prepare(self) -> None:
        """Do what takes time and does not depend on the model. Raises nothing."""
        ...

    def open(self, request: LoadRequest) -> AnyEngine:
        """Load a model into an engine of the kind that it needs. Raises ValidationError, EngineError."""
        ...
