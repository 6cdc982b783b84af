"""``list`` for people: seed columns, filters, and a count of what they hide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from mlxknife.cli.render import units
from mlxknife.cli.render.table import Cell, table
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.domain.models.values.info import Framework, ModelInfo, ModelType
from mlxknife.domain.names.rules.naming import DEFAULT_OWNER, last_part
from mlxknife.domain.removal.values import TrashItem
from mlxknife.domain.text.rules import display

_HASH_LENGTH = 7


@attrs.frozen
class View:
    """What the user asked to see."""

    show_all: bool
    verbose: bool
    health: bool
    pattern: str = ""

    def shows(self, model: ModelInfo) -> bool:
        """Tell whether a model passes the filters."""
        is_mlx = model.traits.framework is Framework.MLX
        return self.show_all or (is_mlx and (self.verbose or model.traits.model_type is ModelType.CHAT))


def lines(models: Sequence[ModelInfo], view: View, *, now: float, room: int | None) -> Iterator[Line]:
    """Yield the table of the models that the view shows, as wide as there is room, and a line about what it hides."""
    shown = [model for model in models if view.shows(model)]
    names = [model.name for model in shown] if view.verbose else _short_names(shown, models)
    if shown:
        rows = [_row(model, name, view, now) for model, name in zip(shown, names, strict=True)]
        yield from table(_header(view), rows, room)
    else:
        yield ("No MLX chat models found." if models else "No models found.",)
    if not models and not view.pattern:
        yield (Span("A small first one: mlxk pull starter", Style.FAINT),)
    hidden = [model for model in models if not view.shows(model)]
    if hidden:
        unhealthy = sum(not model.integrity.healthy for model in hidden)
        damaged = f" ({unhealthy} unhealthy)" if unhealthy else ""
        yield (Span(f"{len(hidden)} more{damaged}: --all", Style.FAINT),)


def trash_lines(trash: Sequence[TrashItem]) -> Iterator[Line]:
    """Yield a line for every removal that was interrupted."""
    for item in trash:
        what = f"in the trash: {item.label} ({display.size(item.size_bytes)}), finish with mlxk rm --orphans"
        yield (Span(what, Style.WEAK),)


def _short_names(shown: Sequence[ModelInfo], models: Sequence[ModelInfo]) -> list[str]:
    """Leave out the owner that a bare name means anyway, where nothing else has that name."""
    uses = Counter(model.name for model in models)
    short = (model.name.removeprefix(f"{DEFAULT_OWNER}/") for model in shown)
    return [
        name if name == model.name or ("/" not in name and not uses[last_part(name)]) else model.name
        for name, model in zip(short, shown, strict=True)
    ]


def _header(view: View) -> list[str]:
    header = ["Name", "Hash", "Size", "Modified"]
    if view.verbose or view.show_all:
        header.append("Framework")
    header.append("Type")
    if view.health:
        header += ["Health", "Runtime", "Reason"] if view.verbose else ["Health"]
    return header


def _row(model: ModelInfo, name: str, view: View, now: float) -> list[Cell]:
    row: list[Cell] = [
        name,
        (model.commit or "-")[:_HASH_LENGTH],
        display.size(model.size_bytes),
        units.age(now - model.modified),
    ]
    if view.verbose or view.show_all:
        row.append(model.traits.framework.value)
    row.append(model.traits.model_type.value)
    if view.health:
        row += _verbose_health(model) if view.verbose else [health_cell(model)]
    return row


def health_cell(model: ModelInfo) -> Span:
    """Return the one word for a model's health: ``healthy*`` is whole but does not run here."""
    if not model.integrity.healthy:
        return Span("unhealthy", Style.BAD)
    return Span("healthy", Style.GOOD) if model.runtime_compatible else Span("healthy*", Style.WEAK)


def _verbose_health(model: ModelInfo) -> list[Cell]:
    runtime: Cell = Span("yes", Style.GOOD) if model.runtime_compatible else Span("no", Style.WEAK)
    return [health_cell(model), runtime if model.integrity.healthy else "-", model.reason or "-"]
