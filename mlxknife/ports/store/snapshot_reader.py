"""Reading the files of one snapshot or workspace."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.models.values.snapshot import Location, ReadingList, SnapshotFacts


class SnapshotReader(Protocol):
    """Reads facts from a location. It follows no link out of the location's bounds, and opens only regular files."""

    def read(self, location: Location, reading_list: ReadingList) -> SnapshotFacts:
        """Return the size and state of every file, and the contents of those on the reading list.

        Raises nothing: the facts say what could not be read, and why.
        """
        ...

    def text(self, location: Location, name: str, limit: int) -> str | None:
        """Return at most ``limit`` bytes of a text file, or None when it is missing, unreadable or not UTF-8.

        Raises nothing.
        """
        ...
