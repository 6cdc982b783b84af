"""Removal: first a plan that can be looked at, then its execution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import attrs

from mlxknife.domain.errors import LocksPresent, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.stored_models import CachedRepo, Workspace
from mlxknife.domain.names.rules import naming, revisions
from mlxknife.domain.names.services import Finder, ModelFolder
from mlxknife.domain.removal import rules as removal
from mlxknife.domain.removal.values import Leftovers, Orphan, RemovalPlan, RemovalTarget
from mlxknife.ports.store.model_store import ModelStore
from mlxknife.ports.store.removal_store import RemovalStore
from mlxknife.ports.workspaces.workspaces import Workspaces


@attrs.frozen
class Remover:
    """Answers ``rm``."""

    finder: Finder
    store: ModelStore
    removal_store: RemovalStore
    workspaces: Workspaces

    def plan(self, spec: str) -> RemovalPlan:
        """Say what would go: a model, ``name@revision``, a workspace, or every model whose name fits a ``*``.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        if "*" in spec:
            places = [place for place in self.finder.places() if naming.fits(place.name, spec)]
            if not places:
                msg = f"No models found matching '{spec}'"
                raise ModelNotFound(msg, suggestions=())
            return RemovalPlan(
                targets=tuple(map(self._target, places)),
                confirmation_reason="a pattern can name more than you think of",
                needs_force=any(isinstance(place.folder, Workspace) for place in places),
            )
        place, revision = self.finder.place(spec)
        if not isinstance(place.folder, str):
            if not (place.folder.at_home or place.folder.is_managed):
                msg = f"Not a workspace of mlxk: {place.folder.path}"
                raise ValidationError(msg, hint=HintCode.REMOVABLE_FOLDERS)
            return RemovalPlan(
                (self._target(place),), confirmation_reason="a workspace may be the only copy", needs_force=True
            )
        word = naming.parse_spec(spec).name
        confirmation_reason = None if naming.is_exact(word, place.name) else f"'{word}' is only a part of the name"
        target = self._target(place) if revision is None else self._snapshot(place.name, place.folder, revision)
        return RemovalPlan((target,), confirmation_reason=confirmation_reason)

    def execute(self, plan: RemovalPlan) -> None:
        """Remove what a plan names, after finishing what earlier removals left.

        Raises LocksPresent when another process works on one of the models, StorageError, AccessDenied.
        """
        with suppress(StorageError):  # what cannot go stays reported, and keeps nothing else from going
            self.removal_store.empty_trash()
        for target in plan.targets:
            if target.workspace is not None:
                self.workspaces.discard(target.workspace)
            elif target.folder is not None:
                with self.removal_store.guarded(target.folder):
                    self._check(target)
                    self.removal_store.discard(target)

    def _check(self, target: RemovalTarget) -> None:
        """Raise LocksPresent when the last revision of a repo, as which it was planned, is not the last any more."""
        if target.last_commit is not None:
            there = {snapshot.commit for snapshot in self.store.repo(target.folder or "").snapshots}
            if there - {target.last_commit}:
                msg = f"Another revision of '{target.name}' arrived meanwhile"
                raise LocksPresent(msg, hint=HintCode.CHECK_AND_REPEAT)

    def leftovers(self) -> Leftovers:
        """Find what nobody needs. Raises StorageError, AccessDenied."""
        return Leftovers(orphans=tuple(self._orphans()), trash=self.removal_store.trash())

    def sweep(self, leftovers: Leftovers) -> Leftovers:
        """Free leftovers and return those that went; a blob that somebody wants by now stays.

        Raises StorageError, AccessDenied.
        """
        went = tuple(orphan for orphan in leftovers.orphans if self.removal_store.discard_orphan(orphan))
        self.removal_store.empty_trash()
        return Leftovers(orphans=went, trash=leftovers.trash)

    def _orphans(self) -> Iterator[Orphan]:
        for folder in sorted(self.store.folders()):
            name = naming.repo_name(folder)
            try:
                if self.removal_store.is_busy(folder):  # its blobs come before its links
                    continue
                use = self.removal_store.blob_use(folder)
            except StorageError:
                continue  # a damaged repo keeps nobody from sweeping the others; health tells what is wrong with it
            yield from (Orphan(name, folder, blob) for blob in removal.orphans(use))

    def _target(self, place: ModelFolder) -> RemovalTarget:
        if isinstance(place.folder, str):
            return self._repo(place.name, self.store.repo(place.folder))
        path = place.folder.path
        return RemovalTarget(name=place.name, size_bytes=self.workspaces.size_bytes(path), workspace=path)

    def _repo(self, name: str, repo: CachedRepo, last_commit: str | None = None) -> RemovalTarget:
        size = self.removal_store.size_bytes(repo.folder)
        return RemovalTarget(name, size, folder=repo.folder, last_commit=last_commit, is_link=repo.is_link)

    def _snapshot(self, name: str, folder: str, revision: str) -> RemovalTarget:
        """Plan the removal of one snapshot; the last one takes its repo along."""
        repo = self.store.repo(folder)
        commit = revisions.only_snapshot(name, repo, revision).commit
        if len(repo.snapshots) == 1:
            return self._repo(name, repo, commit)
        freed = sum(blob.size for blob in removal.freed_by(self.removal_store.blob_use(folder), commit))
        return RemovalTarget(
            name=name,
            size_bytes=freed + self.removal_store.size_bytes(folder, commit),
            folder=folder,
            commit=commit,
            refs=tuple(ref.name for ref in repo.refs if ref.commit == commit),
        )
