"""What a command hands back: its JSON data, its text for people, and how the process ends."""

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
class Answer:
    """The answer of a command in both forms; only the one that is asked for is made."""

    data: Callable[[], object]
    """Makes the ``data`` of the JSON envelope."""
    lines: Callable[[int | None], Iterable[Line]]
    """Makes the text for people, no wider than a terminal is; None where it goes to no terminal."""
    exit_code: int = 0
    is_told: bool = False
    """Whether it was printed while the command still worked."""


class Failed(Exception):
    """A command that failed, with what its answer can say all the same."""

    def __init__(self, error: KnifeError, data: object) -> None:
        """Hold the error and the ``data`` of the JSON envelope."""
        super().__init__(error.message)
        self.error = error
        self.data = data


class Command(Protocol):
    """What every module of ``mlxknife.cli.commands`` offers."""

    Options: Callable[..., Any]
    """A frozen class with a field for every argument."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what the command takes, named as the fields of its options."""
        ...

    def run(self, app: App, options: Any, console: Console) -> Answer:  # noqa: ANN401 - each has its own options
        """Do it. Raises KnifeError, or Failed where the answer has something to say even then."""
        ...
