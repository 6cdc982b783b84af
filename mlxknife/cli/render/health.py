"""``mlxk health`` as text, and the word for the health of a model in all commands."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.cli.render.text import Line, Span, Style, folded
from mlxknife.domain.integrity.values import HealthReport
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.models.values.verdict import Integrity

_COLUMN = 11
STARTER: Line = (Span("To get a small model: mlxk pull starter", Style.FAINT),)
"""The next step where no model is."""


def health_lines(report: HealthReport, columns: int | None) -> Iterator[Line]:
    """Yield a line for each model, healthy ones first, and a line with the counts."""
    for line in _report_lines(report):
        yield from folded(line, columns, _COLUMN)


def health_cell(model: ModelInfo) -> Span:
    """Return the health of a model in one word: ``healthy``, ``unhealthy``, ``healthy*`` (it does not run here)."""
    if not model.integrity.healthy:
        return Span("unhealthy", Style.BAD)
    return Span("healthy", Style.GOOD) if model.runtime_compatible else Span("healthy*", Style.WEAK)


def _report_lines(report: HealthReport) -> Iterator[Line]:
    healthy, unhealthy = report.healthy(), report.unhealthy()
    for entry in healthy:
        word = "verified" if entry.integrity is Integrity.VERIFIED else "healthy"
        limit = f" ({entry.limit})" if entry.limit else ""
        yield (Span(f"{word:{_COLUMN}}", Style.GOOD), f"{entry.name}{limit}")
    for entry in unhealthy:
        yield (Span(f"{'unhealthy':{_COLUMN}}", Style.BAD), f"{entry.name}: {entry.reason or entry.integrity.value}")
    verified = sum(entry.integrity is Integrity.VERIFIED for entry in healthy)
    of_these = f" ({verified} verified)" if verified else ""
    models = "1 model" if len(report.entries) == 1 else f"{len(report.entries)} models"
    yield (f"{models}, {len(healthy)} healthy{of_these}, {len(unhealthy)} unhealthy",)
    if not report.entries:
        yield STARTER
