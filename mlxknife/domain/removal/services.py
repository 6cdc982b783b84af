"""Removal: a plan, then its execution."""

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
        """Return the targets of a spec: a model, ``name@revision``, a workspace, or all that match a ``*`` pattern.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        if "*" in spec:
            found = [folder for folder in self.finder.folders() if naming.fits(folder.name, spec)]
            if not found:
                msg = f"No models found matching '{spec}'"
                raise ModelNotFound(msg, suggestions=())
            return RemovalPlan(
                targets=tuple(map(self._target, found)),
                confirmation_reason="a pattern can match more models than you expect",
                needs_force=any(isinstance(folder.folder, Workspace) for folder in found),
            )
        model, revision = self.finder.resolve(spec)
        if isinstance(model.folder, Workspace):
            if not (model.folder.at_home or model.folder.is_managed):
                msg = f"Not a workspace of mlxk: {model.folder.path}"
                raise ValidationError(msg, hint=HintCode.REMOVABLE_FOLDERS)
            reason = "a workspace may be the only copy"
            return RemovalPlan((self._target(model),), confirmation_reason=reason, needs_force=True)
        word = naming.parse_spec(spec).name
        partial = None if naming.is_exact(word, model.name) else f"'{word}' is only a part of the name"
        target = self._target(model) if revision is None else self._snapshot(model.name, model.folder, revision)
        return RemovalPlan((target,), confirmation_reason=partial)

    def execute(self, plan: RemovalPlan) -> None:
        """Delete the targets of a plan, after the trash that interrupted removals left.

        Raises LocksPresent when another process works on one of the models, StorageError, AccessDenied.
        """
        with suppress(StorageError):  # trash that cannot be deleted stays listed, and does not block this removal
            self.removal_store.empty_trash()
        for target in plan.targets:
            if target.workspace is not None:
                self.workspaces.discard(target.workspace)
            elif target.folder is not None:
                with self.removal_store.lock_exclusive(target.folder):
                    self._check(target)
                    self.removal_store.discard(target)

    def _check(self, target: RemovalTarget) -> None:
        """Raise LocksPresent when the planned revision was the only one of its repo, and another was added since."""
        if target.last_commit is not None:
            commits = {snapshot.commit for snapshot in self.store.repo(target.folder or "").snapshots}
            if commits - {target.last_commit}:
                msg = f"Another revision of '{target.name}' was downloaded in the meantime"
                raise LocksPresent(msg, hint=HintCode.CHECK_AND_REPEAT)

    def leftovers(self) -> Leftovers:
        """Return unused blobs, partial downloads and trash. Raises StorageError, AccessDenied."""
        return Leftovers(orphans=tuple(self._orphans()), trash=self.removal_store.trash())

    def sweep(self, leftovers: Leftovers) -> Leftovers:
        """Delete leftovers and return the deleted ones; a blob that a snapshot uses by now stays.

        Raises StorageError, AccessDenied.
        """
        deleted = tuple(orphan for orphan in leftovers.orphans if self.removal_store.discard_orphan(orphan))
        self.removal_store.empty_trash()
        return Leftovers(orphans=deleted, trash=leftovers.trash)

    def _orphans(self) -> Iterator[Orphan]:
        for folder in sorted(self.store.folders()):
            name = naming.repo_name(folder)
            try:
                if self.removal_store.is_busy(folder):  # a download stores blobs before the links to them
                    continue
                use = self.removal_store.blob_use(folder)
            except StorageError:
                continue  # a damaged repo does not block the others; health reports it
            yield from (Orphan(name, folder, blob) for blob in removal.orphans(use))

    def _target(self, model: ModelFolder) -> RemovalTarget:
        if isinstance(model.folder, str):
            return self._repo(model.name, self.store.repo(model.folder))
        path = model.folder.path
        return RemovalTarget(name=model.name, size_bytes=self.workspaces.size_bytes(path), workspace=path)

    def _repo(self, name: str, repo: CachedRepo, last_commit: str | None = None) -> RemovalTarget:
        size = self.removal_store.size_bytes(repo.folder)
        return RemovalTarget(name, size, folder=repo.folder, last_commit=last_commit, is_link=repo.is_link)

    def _snapshot(self, name: str, folder: str, revision: str) -> RemovalTarget:
        """Return the target for one snapshot; the last snapshot is removed with its repo."""
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
