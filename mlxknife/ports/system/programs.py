"""Running programs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import IO, Protocol

from mlxknife.domain.tee.values import Heard


class Programs(Protocol):
    """Runs programs of this machine, without a shell."""

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[Heard]:
        """Give several programs all that comes from a source, and yield what they say as it comes, by their number.

        Side by side they work at the same time, else each begins when the one before is over. One that stops reading,
        or reads slowly, keeps nobody from what comes. The last word of each is Ended; one that cannot be started says
        so and ends with 127 when it is not there, else with 126. It is over when all have ended, whatever the source
        still holds. Closing it, or raising into it, ends every program that still runs, with its children.

        Raises StorageError when the source cannot be read.
        """
        ...
