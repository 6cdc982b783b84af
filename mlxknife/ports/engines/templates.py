"""Rendering the chat templates of models, which are programs of strangers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mlxknife.domain.generation.values.generation import Message


class Templates(Protocol):
    """Renders templates where they can neither hang nor eat the machine. Several threads may ask at once."""

    def prepare(self) -> None:
        """Begin what the first rendering needs, and return at once; raises nothing."""
        ...

    def render(self, template: str, messages: Sequence[Message], variables: Mapping[str, object]) -> str:
        """Return the prompt for a conversation that waits for an answer.

        Raises TemplateError for a template that fails, refuses the messages, or takes too much time or memory,
        ServerBusy where nobody is free to render it for long.
        """
        ...
