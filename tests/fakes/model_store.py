"""A model store in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

from mlxknife.domain.errors import StorageError
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, Ref

_COMMIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*")


@attrs.define
class FakeStore:
    """Implements ``ModelStore``; ``failure`` is raised by ``folders``."""

    failure: StorageError | None = None
    _repos: dict[str, CachedRepo] = attrs.field(factory=dict, init=False)
    _manifests: dict[str, Mapping[str, RecordedFile]] = attrs.field(factory=dict, init=False)

    def add(
        self,
        folder: str,
        *,
        refs: Mapping[str, str] | None = None,
        snapshots: Iterable[str] = (),
        no_folders: Iterable[str] = (),
        unfinished: Iterable[str] = (),
        problem: str | None = None,
    ) -> None:
        """Put a repo into the cache; later refs and snapshots are newer."""
        written = enumerate((refs or {}).items())
        commits = [*snapshots, *no_folders]
        self._repos[folder] = CachedRepo(
            folder=folder,
            modified=float(len(commits)),
            refs=tuple(
                Ref(name, text.strip() if _COMMIT.fullmatch(text.strip()) else None, float(number))
                for number, (name, text) in written
            ),
            snapshots=tuple(
                CachedSnapshot(
                    commit=commit,
                    location=Location(f"{folder}/{commit}", (folder,)),
                    modified=float(number),
                    problem="snapshot is not a folder" if number >= len(commits) - len(tuple(no_folders)) else None,
                )
                for number, commit in enumerate(commits)
            ),
            unfinished=frozenset(unfinished),
            problem=problem,
        )

    def record(self, folder: str, commit: str, sizes: Mapping[str, int]) -> None:
        """Record the sizes of the files of a commit."""
        self._manifests[f"{folder}/{commit}"] = {name: RecordedFile(size) for name, size in sizes.items()}

    def folders(self) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        return tuple(self._repos)

    def repo(self, folder: str) -> CachedRepo:
        return self._repos.get(folder) or CachedRepo(folder=folder, modified=0.0, problem="model folder vanished")

    def manifest(self, snapshot: CachedSnapshot) -> Mapping[str, RecordedFile] | None:
        return self._manifests.get(snapshot.location.token)
