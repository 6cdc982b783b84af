"""``mlxk version``."""

from __future__ import annotations

from argparse import ArgumentParser

import attrs

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import JSON_API_SPEC_VERSION, VersionData
from mlxknife.cli.render.model_json import system_object
from mlxknife.cli.result import CommandResult
from mlxknife.domain.text.rules import display
from mlxknife.version import __version__


@attrs.frozen
class VersionOptions:
    """``version`` has no options."""


OPTIONS = VersionOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add nothing."""
    del parser


def run(app: App, options: VersionOptions, console: Console) -> CommandResult:
    """Return the versions of the program and its JSON contract, and the memory of the machine."""
    del options, console
    memory = app.system.memory_total_bytes()
    lines = [(f"mlxk {__version__}",), (f"JSON API {JSON_API_SPEC_VERSION}",)]
    if memory is not None:
        lines.append((f"Memory {display.size(memory)}",))
    return CommandResult(
        data=lambda: VersionData(
            cli_version=__version__,
            json_api_spec_version=JSON_API_SPEC_VERSION,
            system=system_object(memory),
        ),
        lines=lambda _: lines,
    )
