"""``mlxk health``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.render.health import health_lines
from mlxknife.cli.render.model_json import health_data
from mlxknife.cli.result import CommandResult

_UNHEALTHY = 1


@attrs.frozen
class HealthOptions:
    """The models to check, and whether an unhealthy one changes the exit code."""

    pattern: str | None = None
    verify: bool = False
    strict: bool = False


OPTIONS = HealthOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the pattern and the switches."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="models whose name contains this text, one ORG/NAME@REVISION, or a path",
    )
    parser.add_argument("--verify", action="store_true", help="hash every file that has a recorded hash, offline")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a model is unhealthy")


def run(app: App, options: HealthOptions, console: Console) -> CommandResult:
    """Check the files of models. Raises KnifeError."""
    report = app.health.check(options.pattern, verify=options.verify, progress=console.progress)
    return CommandResult(
        data=lambda: health_data(report),
        lines=lambda columns: health_lines(report, columns),
        exit_code=_UNHEALTHY if options.strict and report.unhealthy() else 0,
    )
