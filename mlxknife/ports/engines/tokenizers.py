"""Cutting texts into tokens and joining them again, beside the model and not in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class Joining(Protocol):
    """One answer on its way from tokens to text."""

    def feed(self, token: int) -> str:
        """Return the text that is certain by now: never half of a letter. Raises EngineError."""
        ...

    def rest(self) -> str:
        """Return what is certain now that no token follows; half a letter is dropped. Raises EngineError."""
        ...


class Tokenizer(Protocol):
    """The tokenizer of one model. It may be used by several threads."""

    @property
    def vocabulary(self) -> Collection[str]:
        """The tokens as texts."""
        ...

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        """Return a text as tokens; a rendered one has its special tokens already. Raises EngineError."""
        ...

    def bytes_of(self, token: int) -> bytes:
        """Return what a token stands for by itself, which may be a part of a letter. Raises nothing."""
        ...

    def joining(self, after: Sequence[int] = ()) -> Joining:
        """Begin an answer; one that goes on ``after`` other tokens keeps the space between them. Raises nothing."""
        ...


class Tokenizers(Protocol):
    """Opens tokenizers."""

    def open(self, content: str) -> Tokenizer:
        """Return the tokenizer that was written down so. Raises EngineError for one that cannot be read."""
        ...
