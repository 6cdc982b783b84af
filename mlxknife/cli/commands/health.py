"""``mlxk health``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator

import attrs

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.render.text import Line, Span, Style, folded
from mlxknife.cli.wire import health_data
from mlxknife.domain.integrity.values import HealthReport
from mlxknife.domain.models.values.verdict import Integrity

_UNHEALTHY = 1
_COLUMN = 11


@attrs.frozen
class Options:
    """Which models, and what an unhealthy one means for the exit code."""

    pattern: str | None = None
    verify: bool = False
    strict: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the pattern and the strictness."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="models whose name contains this, one ORG/NAME@REVISION, or a folder",
    )
    parser.add_argument("--verify", action="store_true", help="hash every byte that has a recorded hash, offline")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a model is unhealthy")


def run(app: App, options: Options, console: Console) -> Answer:
    """Check the files of models."""
    report = app.health.check(options.pattern, verify=options.verify, progress=console.progress)
    return Answer(
        data=lambda: health_data(report),
        lines=lambda room: (part for line in _lines(report) for part in folded(line, room, _COLUMN)),
        exit_code=_UNHEALTHY if options.strict and report.unhealthy() else 0,
    )


def _lines(report: HealthReport) -> Iterator[Line]:
    healthy, unhealthy = report.healthy(), report.unhealthy()
    for entry in healthy:
        word = "verified" if entry.integrity is Integrity.VERIFIED else "healthy"
        unverified_reason = f" ({entry.unverified_reason})" if entry.unverified_reason else ""
        yield (Span(f"{word:{_COLUMN}}", Style.GOOD), f"{entry.name}{unverified_reason}")
    for entry in unhealthy:
        yield (Span(f"{'unhealthy':{_COLUMN}}", Style.BAD), f"{entry.name}: {entry.reason or entry.integrity.value}")
    verified = sum(entry.integrity is Integrity.VERIFIED for entry in healthy)
    proven = f" ({verified} verified)" if verified else ""
    models = "1 model" if len(report.entries) == 1 else f"{len(report.entries)} models"
    yield (f"{models}, {len(healthy)} healthy{proven}, {len(unhealthy)} unhealthy",)
