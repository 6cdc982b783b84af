"""Running programs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import IO, Protocol

from mlxknife.domain.tee.values import CommandEvent


class Programs(Protocol):
    """Runs programs of this machine, without a shell."""

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[CommandEvent]:
        """Copy a source to the stdin of every program, and yield their output as it arrives, by their numbers.

        ``side_by_side`` runs them at the same time; otherwise each starts when the one before has exited. A program
        that stops reading, or reads slowly, does not delay the others.

        The last event of each program is CommandExited. A program that is not found exits with 127, one that cannot be
        started with 126, after a line on stderr. The generator ends when all have exited, even if the source has more.
        Closing it, or raising into it, kills every program that still runs, with its children.

        Raises StorageError when the source cannot be read.
        """
        ...
