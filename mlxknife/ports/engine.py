"""Running models."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Protocol

from mlxknife.domain.model.generation import Step, TokenRequest
from mlxknife.domain.model.snapshot import Location


class TextModel(Protocol):
    """A language model that is loaded. One answer at a time: a second thread that asks waits for its turn."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while loading, for whoever wants to know: one sentence each."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The model's template for conversations."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """The texts that the template may ask for by name: ``bos_token`` and the like."""
        ...

    @property
    def vocabulary(self) -> Collection[str]:
        """The tokens of the model as texts."""
        ...

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        """Return a text as tokens; a rendered one has its special tokens already. Raises nothing."""
        ...

    def generate(self, request: TokenRequest) -> Generator[Step]:
        """Yield a step for each token, until a token ends the turn or there are enough; closing it cancels.

        What a request has in common with the one before is not computed again. Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Free the memory; the model cannot be used any more. Raises nothing."""
        ...


class Engine(Protocol):
    """Loads models."""

    def load(self, location: Location, profile: str) -> TextModel:
        """Load a model whose files are whole; ``profile`` says how a machine without GPU is to be used.

        Raises EngineError when the runtime cannot, NotEnoughMemory.
        """
        ...
