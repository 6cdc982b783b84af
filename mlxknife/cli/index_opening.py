"""Opening an index to search it, with the offer to pull its model."""

from __future__ import annotations

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.domain.retrieval.services.indexes import Index
from mlxknife.domain.retrieval.values import SearchMode


def opened(app: App, console: Console, path: str, mode: SearchMode, *, pull: bool | None) -> Index:
    """Open an index; its model is offered to be pulled if it is not here. Raises what ``Indexes.open`` raises."""
    spec = app.indexes.model_spec(path)

    def loaded() -> Index:
        with propagate_interrupts(), console.status(f"loading {spec}"):
            return app.indexes.open(path, is_text_only=mode is SearchMode.TEXT)

    return PullOffer(app, console, pull).with_models(loaded, spec)
