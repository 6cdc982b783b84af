"""Removal: a plan, then its execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import KnifeError, LocksPresent, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.stored_models import Workspace
from mlxknife.domain.names.rules import naming, revisions
from mlxknife.domain.names.services import Finder, ModelFolder
from mlxknife.domain.removal import rules as removal
from mlxknife.domain.removal.values import Leftovers, Orphan, RemovalPlan, RemovalTarget
from mlxknife.ports.store.model_store import ModelStore
from mlxknife.ports.store.removal_store import RemovalStore
from mlxknife.ports.workspaces.workspaces import Workspaces


@attrs.frozen
class _Choice:
    """The models that one spec selects, or the commits of one model, and why the user should confirm it."""

    models: tuple[ModelFolder, ...]
    commits: tuple[str, ...] | None
    confirmation_reason: str | None
    needs_force: bool = False


@attrs.frozen
class Remover:
    """Answers ``rm``."""

    finder: Finder
    store: ModelStore
    removal_store: RemovalStore
    workspaces: Workspaces

    __repr__ = reprs.name

    def plan(self, spec: str, *further: str) -> RemovalPlan:
        """Return the targets of one or more specs, each only once.

        A spec is a model, ``name@revision``, a workspace, or a pattern with ``*`` that takes all matches.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        choices = [self._choice(one) for one in (spec, *further)]
        merged: dict[ModelFolder, tuple[str, ...] | None] = {}
        for choice in choices:
            for model in choice.models:
                before = merged.get(model, ())
                is_whole = choice.commits is None or before is None
                merged[model] = None if is_whole else tuple(dict.fromkeys((*(before or ()), *(choice.commits or ()))))
        reasons = dict.fromkeys(choice.confirmation_reason for choice in choices if choice.confirmation_reason)
        return RemovalPlan(
            targets=tuple(target for model, commits in merged.items() for target in self._targets(model, commits)),
            confirmation_reason="; ".join(reasons) or None,
            needs_force=any(choice.needs_force for choice in choices),
        )

    def execute(self, plan: RemovalPlan, on_removed: Callable[[RemovalTarget], None] = lambda _: None) -> None:
        """Delete the targets of a plan, after the trash that interrupted removals left.

        ``on_removed`` is called with each target that is gone. An error names its model.

        Raises LocksPresent when another process works on one of the models, StorageError, AccessDenied.
        """
        with suppress(StorageError):  # trash that cannot be deleted stays listed, and does not block this removal
            self.removal_store.empty_trash()
        if len(plan.targets) > 1:
            self._check_locks(plan)
        for target in plan.targets:
            with _naming(target.name):
                self._remove(target)
            on_removed(target)

    def _check_locks(self, plan: RemovalPlan) -> None:
        """Raise LocksPresent before anything is removed. A lock that is taken later still stops the removal."""
        for target in plan.targets:
            if target.folder is not None:
                with _naming(target.name), self.removal_store.lock_exclusive(target.folder):
                    self._check(target)

    def _remove(self, target: RemovalTarget) -> None:
        if target.workspace is not None:
            self.workspaces.discard(target.workspace)
        elif target.folder is not None:
            with self.removal_store.lock_exclusive(target.folder):
                self._check(target)
                self.removal_store.discard(target)

    def _check(self, target: RemovalTarget) -> None:
        """Raise LocksPresent when all revisions of a repo were to be removed, and another was added since."""
        if target.last_commits:
            commits = {snapshot.commit for snapshot in self.store.repo(target.folder or "").snapshots}
            if commits - set(target.last_commits):
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

    def _choice(self, spec: str) -> _Choice:
        if "*" in spec:
            found = tuple(folder for folder in self.finder.folders() if naming.fits(folder.name, spec))
            if not found:
                msg = f"No models found matching '{spec}'"
                raise ModelNotFound(msg, suggestions=())
            has_workspaces = any(isinstance(folder.folder, Workspace) for folder in found)
            return _Choice(found, None, "a pattern can match more models than you expect", has_workspaces)
        model, revision = self.finder.resolve(spec)
        if isinstance(model.folder, Workspace):
            if not (model.folder.at_home or model.folder.is_managed):
                msg = f"Not a workspace of mlxk: {model.folder.path}"
                raise ValidationError(msg, hint=HintCode.REMOVABLE_FOLDERS)
            return _Choice((model,), None, "a workspace may be the only copy", needs_force=True)
        word = naming.parse_spec(spec).name
        partial = None if naming.is_exact(word, model.name) else f"'{word}' is only a part of the name"
        if revision is None:
            return _Choice((model,), None, partial)
        commit = revisions.only_snapshot(model.name, self.store.repo(model.folder), revision).commit
        return _Choice((model,), (commit,), partial)

    def _targets(self, model: ModelFolder, commits: tuple[str, ...] | None) -> Iterator[RemovalTarget]:
        """Yield the targets for a model, or for some of its snapshots; the last snapshot is removed with its repo."""
        if isinstance(model.folder, Workspace):
            path = model.folder.path
            yield RemovalTarget(name=model.name, size_bytes=self.workspaces.size_bytes(path), workspace=path)
            return
        repo = self.store.repo(model.folder)
        if commits is None or len(commits) == len(repo.snapshots):
            size = self.removal_store.size_bytes(repo.folder)
            yield RemovalTarget(model.name, size, folder=repo.folder, last_commits=commits or (), is_link=repo.is_link)
            return
        use = self.removal_store.blob_use(repo.folder)
        for number, commit in enumerate(commits):
            freed = sum(blob.size for blob in removal.freed_by(use, commit, before=commits[:number]))
            yield RemovalTarget(
                name=model.name,
                size_bytes=freed + self.removal_store.size_bytes(repo.folder, commit),
                folder=repo.folder,
                commit=commit,
                refs=tuple(ref.name for ref in repo.refs if ref.commit == commit),
            )


@contextmanager
def _naming(model: str) -> Iterator[None]:
    """Put the name of a model into the errors that concern it."""
    try:
        yield
    except KnifeError as error:
        error.model = model
        raise
