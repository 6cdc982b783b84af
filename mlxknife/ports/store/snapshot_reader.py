"""Looking into a folder of model files."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.snapshot import Location, ReadingList, SnapshotFacts


class SnapshotReader(Protocol):
    """Reads facts from a location, without following links out of its bounds and without opening what is not a file."""

    def read(self, location: Location, wanted: ReadingList) -> SnapshotFacts:
        """Look at every file once and open those on the reading list.

        Raises nothing: whatever cannot be read is told in the facts.
        """
        ...

    def text(self, location: Location, name: str, limit: int) -> str | None:
        """Return at most ``limit`` bytes of a text file, or None when it is missing, unreadable or no UTF-8.

        Raises nothing.
        """
        ...
