"""The fake and the real snapshot reader over the same files, which are described once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs

from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.domain.models.rules.filenames import READING_LIST
from mlxknife.domain.models.values.snapshot import Location, SnapshotFacts
from mlxknife.ports.store.snapshot_reader import SnapshotReader
from tests.contracts.permissions import forbidden
from tests.fakes.snapshot_reader import FakeReader, Link, Locked, Pipe, Thing


@attrs.frozen
class Opened:
    """A reader and the one location that it reads."""

    reader: SnapshotReader
    location: Location
    locked: tuple[Path, ...] = ()
    """Paths of the real disk that may not be opened while the reader works."""

    def facts(self) -> SnapshotFacts:
        with forbidden(*self.locked):
            return self.reader.read(self.location, READING_LIST)

    def text(self, name: str, limit: int) -> str | None:
        with forbidden(*self.locked):
            return self.reader.text(self.location, name, limit)


class Opener(Protocol):
    def __call__(self, place: Path, disk: Mapping[str, Thing], folder: str, bounds: tuple[str, ...]) -> Opened:
        """Create files at relative paths and open one of their folders."""
        ...


def open_fake(place: Path, disk: Mapping[str, Thing], folder: str, bounds: tuple[str, ...]) -> Opened:
    del place
    reader = FakeReader({f"/{path}": thing for path, thing in disk.items()})
    return Opened(reader, Location(f"/{folder}", tuple(f"/{bound}" for bound in bounds)))


def open_real(place: Path, disk: Mapping[str, Thing], folder: str, bounds: tuple[str, ...]) -> Opened:
    for name, thing in disk.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match thing:
            case Link(target):
                path.symlink_to(target.replace("{root}", str(place)))
            case Locked(data):
                path.write_bytes(data)
            case Pipe():
                os.mkfifo(path)
            case _:
                path.write_bytes(thing)
    locked = tuple(place / name for name, thing in disk.items() if isinstance(thing, Locked))
    location = Location(str(place / folder), tuple(str(place / bound) for bound in bounds))
    return Opened(FolderReader(), location, locked)


def openers() -> tuple[Opener, Opener]:
    return open_fake, open_real
