"""``mlxk list`` as text: the filters, the columns, and the number of models that the filters hide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from mlxknife.cli.render.health import STARTER, health_cell
from mlxknife.cli.render.table import Cell, table
from mlxknife.cli.render.text import Line, Span, Style, age, folded
from mlxknife.domain.models.values.info import Framework, ModelInfo, ModelType
from mlxknife.domain.names.rules.naming import DEFAULT_OWNER, last_part
from mlxknife.domain.removal.values import TrashItem
from mlxknife.domain.text.rules import display

_HASH_LENGTH = 7
_INDENT = "  "


@attrs.frozen
class ListView:
    """Which models and columns the text of ``list`` shows."""

    show_all: bool
    verbose: bool
    health: bool
    pattern: str = ""

    def includes(self, model: ModelInfo) -> bool:
        """Return whether a model passes the filters. One that cannot be read is always shown."""
        is_mlx = model.traits.framework is Framework.MLX
        return (
            self.show_all
            or model.is_unreadable
            or (is_mlx and (self.verbose or model.traits.model_type is ModelType.CHAT))
        )


def list_lines(models: Sequence[ModelInfo], view: ListView, *, now: float, columns: int | None) -> Iterator[Line]:
    """Yield the table of the models that the view includes, and a line that counts the others."""
    shown = [model for model in models if view.includes(model)]
    names = [model.name for model in shown] if view.verbose else _short_names(shown, models)
    if shown:
        rows = [_row(model, name, view, now) for model, name in zip(shown, names, strict=True)]
        yield from table(_header(view), rows, columns)
    else:
        of_pattern = f" matching '{view.pattern}'" if view.pattern else ""
        yield (f"No {'MLX chat models' if models else 'models'} found{of_pattern}.",)
    if not models and not view.pattern:
        yield STARTER
    if not (view.verbose and view.health):  # else the table has a column for it
        yield from _unreadable_lines(shown, columns)
    hidden = [model for model in models if not view.includes(model)]
    if hidden:
        unhealthy = sum(not model.integrity.healthy for model in hidden)
        damaged = f" ({unhealthy} unhealthy)" if unhealthy else ""
        yield (Span(f"{len(hidden)} more{damaged}: --all", Style.FAINT),)


def trash_lines(trash: Sequence[TrashItem]) -> Iterator[Line]:
    """Yield a line for each interrupted removal."""
    for item in trash:
        size = display.size(item.size_bytes)
        yield (Span(f"interrupted removal: {item.label} ({size}), finish it with mlxk rm --orphans", Style.WEAK),)


def _unreadable_lines(models: Sequence[ModelInfo], columns: int | None) -> Iterator[Line]:
    for model in models:
        if model.is_unreadable:
            reason = Span(f"{model.name}: {model.reason}", Style.WEAK)
            yield from folded((Span("unreadable: ", Style.WEAK), reason), columns, len(_INDENT))


def _short_names(shown: Sequence[ModelInfo], models: Sequence[ModelInfo]) -> list[str]:
    """Return the names without the default owner, where the short name resolves to the same model."""
    uses = Counter(model.name for model in models)
    short = (model.name.removeprefix(f"{DEFAULT_OWNER}/") for model in shown)
    return [
        name if name == model.name or ("/" not in name and not uses[last_part(name)]) else model.name
        for name, model in zip(short, shown, strict=True)
    ]


def _header(view: ListView) -> list[str]:
    header = ["Name", "Hash", "Size", "Modified"]
    if view.verbose or view.show_all:
        header.append("Framework")
    header.append("Type")
    if view.health:
        header += ["Integrity", "Runtime", "Reason"] if view.verbose else ["Health"]
    return header


def _row(model: ModelInfo, name: str, view: ListView, now: float) -> list[Cell]:
    row: list[Cell] = [name, (model.commit or "-")[:_HASH_LENGTH]]
    row.append("-" if model.is_unreadable else display.size(model.size_bytes))
    row.append(age(now - model.modified) if model.modified else "-")
    if view.verbose or view.show_all:
        row.append("-" if model.is_unreadable else model.traits.framework.value)
    row.append(Span("unreadable", Style.BAD) if model.is_unreadable else model.traits.model_type.value)
    if view.health:
        row += _verbose_health(model) if view.verbose else [health_cell(model)]
    return row


def _verbose_health(model: ModelInfo) -> list[Cell]:
    runtime: Cell = Span("yes", Style.GOOD) if model.runtime_compatible else Span("no", Style.WEAK)
    integrity = Span("healthy", Style.GOOD) if model.integrity.healthy else health_cell(model)
    return [integrity, runtime if model.integrity.healthy else "-", model.reason or "-"]
