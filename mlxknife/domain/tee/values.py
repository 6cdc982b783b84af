"""mlx-tee: several commands that get the same input, and the events of their output."""

from __future__ import annotations

import attrs

from mlxknife.domain import reprs


@attrs.frozen
class TeeCommand:
    """One parsed command line."""

    command: str
    """The command line as the user wrote it, without the host."""
    argv: tuple[str, ...]
    host: str | None = None
    """The machine to run it on over ssh; None for this one."""
    models: tuple[str, ...] = ()
    """The models that it loads, as the command line names them."""
    profile: str | None = None
    """The CPU profile that it sets."""

    @property
    def title(self) -> str:
        """The command line as the user wrote it."""
        return self.command if self.host is None else f"@{self.host}:{self.command}"


@attrs.frozen
class TeePlan:
    """The commands to run, and whether they run at the same time."""

    commands: tuple[TeeCommand, ...]
    side_by_side: bool
    note: str | None = None
    """Why the commands run one after the other, where the user did not choose that."""

    __repr__ = reprs.fields


@attrs.frozen
class OutputBegins:
    """The events that follow belong to the command of this number."""

    number: int


@attrs.frozen
class OutputChunk:
    """Bytes that a command wrote."""

    number: int
    data: bytes
    is_error: bool = False
    """Whether they came from stderr."""


@attrs.frozen
class CommandExited:
    """A command exited."""

    number: int
    status: int
    """The exit code of a shell: 128 plus the signal for a killed command, 127 or 126 for one that did not start."""
    seconds: float
    signal: int | None = None
    """The signal that killed it."""


CommandEvent = OutputChunk | CommandExited
