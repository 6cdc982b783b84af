"""Model processes: each loads one model, so that a crash costs a process and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from mlxknife.domain.engines.values import EngineKind, Event, Request
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded

EventT = TypeVar("EventT", bound=Event)


class ModelProcess(Protocol):
    """One model process. It is called from one thread, calls back in the same thread, and never blocks it."""

    @property
    def process_id(self) -> int | None:
        """The process id, while the process exists. Raises nothing."""
        ...

    def load(self, request: LoadRequest) -> None:
        """Load a model; once, before any request. Raises nothing: the outcome is a call of ``on_state``."""
        ...

    def submit(self, request: Request[EventT], on_event: Callable[[EventT | KnifeError], None]) -> int:
        """Send a request after the model is loaded, and return its id. Raises nothing.

        ``on_event`` is called later: with ``Accepted``, then with events until each answer has ended. An
        error is the last call: ValidationError, ContextLengthExceeded, TemplateError or ServerBusy before ``Accepted``,
        EngineError or WorkerLost at any time.
        """
        ...

    def cancel(self, request_id: int) -> None:
        """Drop a request without further calls of its ``on_event``; an unknown one is ignored. Raises nothing."""
        ...

    def pause(self) -> None:
        """Stop computing until ``resume``. Raises nothing."""
        ...

    def resume(self) -> None:
        """Continue computing. Raises nothing."""
        ...

    def close(self) -> None:
        """End the process without further calls. Closing twice is allowed. Raises nothing."""
        ...


class ModelProcesses(Protocol):
    """Starts model processes."""

    def start(
        self, on_state: Callable[[ModelLoaded | KnifeError], None], likely: EngineKind = EngineKind.TEXT
    ) -> ModelProcess:
        """Start a process and return at once. It prepares for a model of the kind ``likely``. Raises nothing.

        ``on_state`` is called later, never from within this call: with ``ModelLoaded``, and with an error when the
        process ends before it is closed. EngineError: the process cannot be started or cannot load the model;
        WorkerLost: it crashed or hung. Requests in flight get the same error first. The process never outlives its
        parent.
        """
        ...


class ModelClient(Protocol):
    """A blocking client of one model process. Several threads may use it, each for requests of its own."""

    def load(self, request: LoadRequest) -> ModelLoaded:
        """Load a model and wait for it. Raises ValidationError, EngineError, WorkerLost."""
        ...

    def submit(self, request: Request[EventT]) -> Generator[EventT]:
        """Send a request, and yield its events until each answer has ended. Closing the generator cancels the request.

        Raises ValidationError, ContextLengthExceeded, TemplateError, ServerBusy, EngineError, WorkerLost.
        """
        ...

    def pause(self) -> None:
        """Stop computing until ``resume``. Raises nothing."""
        ...

    def resume(self) -> None:
        """Continue computing. Raises nothing."""
        ...

    def close(self) -> None:
        """End the process; requests in flight fail with EngineError. Closing twice is allowed. Raises nothing."""
        ...


class ModelClients(Protocol):
    """Starts model processes for blocking callers."""

    def start(self) -> ModelClient:
        """Start a process and return at once, so that it starts up while the caller looks for the model.

        Raises EngineError if this process cannot have one more thread. A process that cannot be started fails ``load``.
        """
        ...
