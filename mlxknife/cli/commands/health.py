"""``mlxk health``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator

import attrs

from mlxknife.app import App
from mlxknife.cli.answer import Answer
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.cli.wire import health_data
from mlxknife.domain.model.health import HealthReport

_UNHEALTHY = 1


@attrs.frozen
class Options:
    """Which models, and what an unhealthy one means for the exit code."""

    pattern: str | None = None
    strict: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the pattern and the strictness."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="models whose name contains this, one ORG/NAME@REVISION, or a folder",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a model is unhealthy")


def run(app: App, options: Options) -> Answer:
    """Check the files of models."""
    report = app.health.check(options.pattern)
    return Answer(
        data=lambda: health_data(report),
        lines=lambda _: _lines(report),
        exit_code=_UNHEALTHY if options.strict and report.unhealthy() else 0,
    )


def _lines(report: HealthReport) -> Iterator[Line]:
    healthy, unhealthy = report.healthy(), report.unhealthy()
    for entry in healthy:
        yield (Span("healthy", Style.GOOD), "    ", entry.name)
    for entry in unhealthy:
        yield (
            Span("unhealthy", Style.BAD),
            "  ",
            entry.name,
            ": ",
            entry.reason or entry.integrity.value,
        )
    yield (f"{len(report.entries)} models, {len(healthy)} healthy, {len(unhealthy)} unhealthy",)
