"""What the server needs of the domain, as it is called from here."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, TypeAlias

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, Told
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.serving.values.processes import HostedModel, ResidentEvent

Request: TypeAlias = ChatRequest | TextRequest
Served: TypeAlias = Any
"""A model that was found; its ``info`` says which. It goes from ``find`` to ``claim`` and ``prepare`` untouched."""
Prepared: TypeAlias = Any
"""A request in the words of a model's process; it goes from ``prepare`` to ``answer`` untouched."""
OnTold: TypeAlias = Callable[[int, Told | KnifeError], None]
"""Is told which answer it is and what came of it."""


class Serving(Protocol):
    """Finding models and preparing requests. All but ``known`` takes its time, and is called in a thread."""

    def models(self) -> tuple[ModelInfo, ...]:
        """Return what can run. Raises StorageError."""
        ...

    def known(self, spec: str) -> Served | None:
        """Return what ``find`` found a moment ago, or None. It takes no time; the thread of the loop calls it."""
        ...

    def find(self, spec: str) -> Served:
        """Return the model of that name.

        Raises ModelNotFound, AmbiguousMatch, ModelNotRunnable, ValidationError, StorageError.
        """
        ...

    def prepare(self, served: Served, model: HostedModel, request: Request) -> Prepared:
        """Cut a request into tokens.

        Raises ContextLengthExceeded, TemplateError, ServerBusy, ValidationError, EngineError.
        """
        ...


class Claim(Protocol):
    """The right to use a loaded model until it is released."""

    @property
    def model(self) -> HostedModel:
        """What is known of the model. Raises WorkerLost."""
        ...

    def answer(self, prepared: Prepared, on_told: OnTold) -> None:
        """Begin all answers; ``on_told`` is called in this thread, at once or later. Raises nothing."""
        ...

    def cancel(self) -> None:
        """End all answers at once; nothing more is told of them. Raises nothing."""
        ...

    def release(self) -> None:
        """Give the right back. Raises nothing."""
        ...


class Resident(Protocol):
    """A model that is loaded, or on its way there."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def state(self) -> Enum:
        """How far it is: ``loading`` or ``ready``."""
        ...

    @property
    def running(self) -> int:
        """How many answers it gives at the moment."""
        ...


class Residents(Protocol):
    """The loaded models. Called in the thread of the loop only, and never blocks it."""

    on_event: Callable[[ResidentEvent], None] | None
    """Is told what becomes of the models."""

    def claim(self, served: Served, on_claim: Callable[[Claim | KnifeError], None]) -> Callable[[], None]:
        """Ask for a model; ``on_claim`` is called once, now or later. Returns what forgets the wish."""
        ...

    @property
    def keeps(self) -> bool:
        """Whether some models are to be loaded always. Raises nothing."""
        ...

    def loaded(self) -> tuple[Resident, ...]:
        """Return what is loaded. Raises nothing."""
        ...

    def tick(self) -> None:
        """Do what is due; called each second. Raises nothing."""
        ...

    def close(self) -> None:
        """Unload everything. Raises nothing."""
        ...
