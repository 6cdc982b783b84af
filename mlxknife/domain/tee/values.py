"""Several commands that are given the same input: what they are, and what is heard of them."""

from __future__ import annotations

import attrs


@attrs.frozen
class TeeCommand:
    """One command line, understood."""

    command: str
    """As it was written, without the host."""
    words: tuple[str, ...]
    host: str | None = None
    """Where it runs, if not here."""
    models: tuple[str, ...] = ()
    """The models that it loads, as it names them."""
    profile: str | None = None
    """The CPU profile that it asks for."""

    @property
    def title(self) -> str:
        """The command line as it was written."""
        return self.command if self.host is None else f"@{self.host}:{self.command}"


@attrs.frozen
class TeePlan:
    """How several jobs are going to be run."""

    jobs: tuple[TeeCommand, ...]
    side_by_side: bool
    note: str | None = None
    """Why it is not as one would expect."""


@attrs.frozen
class OutputBegins:
    """From now on the job of this number is heard."""

    number: int


@attrs.frozen
class OutputChunk:
    """A job wrote something."""

    number: int
    data: bytes
    is_error: bool = False
    """Whether it came on stderr."""


@attrs.frozen
class CommandExited:
    """A job is over."""

    number: int
    status: int
    """As a shell tells it: 128 and the signal for what was killed, 127 and 126 for what could not be started."""
    seconds: float
    signal: int | None = None
    """What killed it."""


CommandEvent = OutputChunk | CommandExited
