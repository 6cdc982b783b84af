"""The contract of a command module: what it takes, and the result or error that it ends with."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.render.text import Line
from mlxknife.domain.errors import KnifeError


@attrs.frozen
class CommandResult:
    """What a command returns: its JSON data, its text and its exit code. Only the requested form is built."""

    data: Callable[[], object]
    """Builds the ``data`` of the JSON envelope."""
    lines: Callable[[int | None], Iterable[Line]]
    """Builds the lines of text for a terminal of that many columns, or for a pipe (None)."""
    exit_code: int = 0
    is_printed: bool = False
    """Whether the command has already printed its result."""


class CommandFailed(Exception):
    """An error of a command whose JSON envelope carries ``data`` as well."""

    def __init__(self, error: KnifeError, data: object) -> None:
        """Keep the error and the ``data`` of the JSON envelope."""
        super().__init__(error.message)
        self.error = error
        self.data = data


class CommandInterrupted(KeyboardInterrupt):
    """A Ctrl-C that ended a command whose JSON envelope carries ``data``."""

    def __init__(self, data: object) -> None:
        """Keep the ``data`` of the JSON envelope."""
        super().__init__()
        self.data = data


class CommandModule(Protocol):
    """What every module of ``mlxknife.cli.commands`` defines."""

    OPTIONS: Callable[..., Any]
    """A frozen class with a field for each argument."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command. Their names are those of the fields of OPTIONS."""
        ...

    def run(self, app: App, options: Any, console: Console) -> CommandResult:  # noqa: ANN401 - each has its own options
        """Run the command. Raises KnifeError, or CommandFailed if the JSON envelope needs data beside the error."""
        ...
