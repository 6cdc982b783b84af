"""Loading a reranker for a command, with the offer to pull it, and the warning about what it does not read."""

from __future__ import annotations

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.domain.reranking.services.rerankers import Reranker


def opened(app: App, console: Console, spec: str, *, pull: bool | None) -> Reranker:
    """Load a reranker; it is offered to be pulled if it is not here. Raises what ``Rerankers.open`` raises."""

    def loaded() -> Reranker:
        with propagate_interrupts(), console.status(f"loading {spec}"):
            return app.rerankers.open(spec)

    return PullOffer(app, console, pull).with_models(loaded, spec)


def warn_truncated(console: Console, count: int, what: tuple[str, str], model: str) -> None:
    """Warn about texts that are longer than a reranker reads; ``what`` is the word for one and for several."""
    if count:
        texts = f"1 {what[0]} is" if count == 1 else f"{count} {what[1]} are"
        console.warn(f"{texts} longer than {model} reads; the rest does not count")
