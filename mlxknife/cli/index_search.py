"""Searching an index for a command: opening it with the offer to pull its model, and passages for a question."""

from __future__ import annotations

import attrs

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.render.hits import shown_path
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.retrieval.rules import context
from mlxknife.domain.retrieval.services.indexes import Index
from mlxknife.domain.retrieval.values import Hit, SearchMode


def opened(app: App, console: Console, path: str, mode: SearchMode, *, pull: bool | None) -> Index:
    """Open an index; its model is offered to be pulled if it is not here. Raises what ``Indexes.open`` raises."""
    spec = app.indexes.model_spec(path)

    def loaded() -> Index:
        with propagate_interrupts(), console.status(f"loading {spec}"):
            return app.indexes.open(path, is_text_only=mode is SearchMode.TEXT)

    return PullOffer(app, console, pull).with_models(loaded, spec)


def passages(app: App, index: str, console: Console, question: str, *, pull: bool | None) -> tuple[Hit, ...]:
    """Return what an index has for a question; its model is closed before another one is loaded.

    Raises what a search raises, and ValidationError for an index without text.
    """
    with opened(app, console, index, SearchMode.HYBRID, pull=pull) as searched, propagate_interrupts():
        hits = searched.search(question, top_k=context.PASSAGES)
    if not hits:
        msg = f"The index {index} holds no text"
        raise ValidationError(msg)
    return tuple(attrs.evolve(hit, file=shown_path(hit.file)) for hit in hits)
