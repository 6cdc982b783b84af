"""Running models."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Protocol

from mlxknife.domain.generation.values.generation import Step, TokenRequest
from mlxknife.domain.models.values.snapshot import Location


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

        The last step says how it ended; the text of a token that ends the turn is never in it. What a request begins
        with as the one before did, its answer included, is computed again only where the model cannot go back so far:
        ``Step.cached`` counts what was not. The same seed gives the same steps.

        Raises ValidationError, before anything is computed, for a ``CacheShape`` that this model cannot have;
        EngineError when the runtime fails, where this thread has an answer open, and when the model is closed.
        """
        ...

    def close(self) -> None:
        """Free the memory; the model generates nothing any more. Closing it twice is no mistake. Raises nothing."""
        ...


class Engine(Protocol):
    """Loads models."""

    def load(self, location: Location, profile: str, *, draft: Location | None = None) -> TextModel:
        """Load a model whose files are whole; ``profile`` says how a machine without GPU is to be used.

        A ``draft`` is a smaller model that guesses tokens ahead, which the other one only has to confirm: the text is
        the same, and comes sooner where the guesses are good.

        Raises ValidationError for a draft of another vocabulary, or where one of the two cannot take back a guess;
        EngineError when the runtime cannot.
        """
        ...
