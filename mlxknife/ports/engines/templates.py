"""Rendering chat templates, which are untrusted programs from model repos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Templates(Protocol):
    """Renders templates with bounds on time and memory. Several threads may render at once."""

    def prepare(self) -> None:
        """Start a renderer for the first rendering, and return at once. Raises nothing."""
        ...

    def render(self, template: str, messages: Sequence[Mapping[str, object]], variables: Mapping[str, object]) -> str:
        """Return the prompt for a conversation that waits for an answer; its messages are JSON objects.

        Raises TemplateError for a template that fails, rejects the messages, or exceeds its time or memory;
        ServerBusy if no renderer is free in time.
        """
        ...

    def close(self) -> None:
        """End all renderers. Raises nothing."""
        ...
