"""Finding models: every stored model, and the one that a spec names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import AmbiguousMatch, ModelNotFound, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, ModelEntry, ModelSpec, Workspace
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import naming, revisions
from mlxknife.ports.store.model_store import ModelStore
from mlxknife.ports.workspaces.workspaces import Workspaces


@attrs.frozen
class ModelFolder:
    """The name of a model and where it is stored: a folder name of the cache, or a workspace."""

    name: str
    folder: str | Workspace


@attrs.frozen
class Finder:
    """Finds models in the cache and in the workspaces, under one set of names."""

    store: ModelStore
    workspaces: Workspaces
    allows_paths: bool = True
    """Whether a spec may be a path; the server does not allow that."""

    __repr__ = reprs.name

    def folders(self, pattern: str = "") -> tuple[ModelFolder, ...]:
        """Return the folder of every model whose name contains a pattern, sorted by name.

        Raises StorageError or AccessDenied when the cache or the workspace home cannot be listed.
        """
        cached = self._cached()
        folders: dict[str, str | Workspace] = {**self._at_home(cached), **cached}
        names = naming.matching(pattern, folders) if pattern else folders
        return tuple(
            ModelFolder(name, folders[name]) for name in sorted(names, key=lambda name: (name.casefold(), name))
        )

    def entry(self, folder: ModelFolder) -> ModelEntry:
        """Return the entry of a model, without reading its files. Raises nothing."""
        if isinstance(folder.folder, Workspace):
            return workspace_entry(folder.name, folder.folder)
        return self.cached_entry(folder.name, folder.folder)

    def find(self, text: str) -> ModelEntry:
        """Return the entry of the one model that a spec names.

        Raises ValidationError for an invalid spec, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        found, revision = self.resolve(text)
        if isinstance(found.folder, Workspace):
            return workspace_entry(found.name, found.folder)
        return self.cached_entry(found.name, found.folder, revision)

    def resolve(self, text: str) -> tuple[ModelFolder, str | None]:
        """Return the folder of the one model that a spec names, and the revision in the spec.

        The revision is only looked up to choose between several models. Raises what ``find`` raises.
        """
        spec = naming.parse_spec(text)
        if spec.is_path and not self.allows_paths:
            msg = f"No model found matching '{text}'"
            raise ModelNotFound(msg, hint=HintCode.NAME_NOT_PATH)
        if spec.is_path or (self.allows_paths and self.workspaces.holds_model(text)):
            workspace = self.workspaces.at_path(text)
            return ModelFolder(self._name_of(workspace), workspace), None
        cached = self._cached()
        workspaces = self._at_home(cached)
        name = self._only_candidate(spec, cached, workspaces)
        if name in cached:
            return ModelFolder(name, cached[name]), spec.revision
        if spec.revision is not None:
            msg = f"Workspace '{name}' has no revisions"
            raise ModelNotFound(msg, hint=Hint(HintCode.PLAIN_NAME, name=name))
        return ModelFolder(name, workspaces[name]), None

    def name_to_pull(self, text: str) -> str | None:
        """Return what ``pull`` needs to bring the model that a spec names.

        None for a model that is here, for an ambiguous spec, and for one that no Hub can have. Raises StorageError,
        AccessDenied.
        """
        with suppress(ValidationError, AmbiguousMatch):
            spec, cached = naming.parse_spec(text), self._cached()
            if spec.is_path or naming.candidates(spec.name, cached, self._at_home(cached)):
                return None
            if starters.named(text) is not None:
                return text
            name = naming.name_on_hub(spec.name, cached)
            if spec.revision is None:
                return name
            naming.check_revision(spec.revision)
            return f"{name}@{spec.revision}"
        return None

    def cached_entry(self, name: str, folder: str, revision: str | None = None) -> ModelEntry:
        """Return the entry of a cached model, or of one revision of it.

        Raises ModelNotFound and AmbiguousMatch for a revision; nothing without one.
        """
        repo = self.store.repo(folder)
        if revision is not None:
            return self._snapshot_entry(name, repo, revisions.only_snapshot(name, repo, revision), None)
        snapshot, finding = revisions.default_snapshot(repo)
        if snapshot is None:
            is_unreadable = repo.problem is not None
            return ModelEntry(name, True, None, repo.modified, finding=finding, is_unreadable=is_unreadable)  # noqa: FBT003
        return self._snapshot_entry(name, repo, snapshot, finding)

    def _only_candidate(self, spec: ModelSpec, cached: Mapping[str, str], workspaces: Collection[str]) -> str:
        def has_revision(name: str) -> bool:
            return name in cached and revisions.has_snapshot(self.store.repo(cached[name]), spec.revision or "")

        word, is_revised = spec.name, spec.revision is not None
        found = naming.candidates(word, cached, workspaces, has_revision if is_revised else None)
        if len(found) == 1:
            return found[0]
        if found:
            msg = f"Multiple models match '{word}'"
            raise AmbiguousMatch(msg, matches=found, hint=HintCode.FULL_NAMES)
        if is_revised and (without := naming.candidates(word, cached, workspaces)):
            msg = f"None of the models that match '{word}' has the revision '{spec.revision}'"
            raise ModelNotFound(msg, suggestions=without, hint=HintCode.LIST_MODELS)
        suggestions = naming.nearest(word, (*cached, *workspaces))
        msg = f"No model found matching '{word}'"
        hint = _not_found_hint(word, suggestions, has_models=bool(cached or workspaces))
        raise ModelNotFound(msg, suggestions=suggestions, hint=hint)

    def _cached(self) -> dict[str, str]:
        return {naming.repo_name(folder): folder for folder in self.store.folders()}

    def _at_home(self, cached: Collection[str]) -> dict[str, Workspace]:
        """Return the workspaces of the home by folder name, or by path where a cached model has that name."""
        named = ((naming.quoted_name(workspace.folder), workspace) for workspace in self.workspaces.at_home())
        return {
            workspace.path if name in cached else name: workspace
            for name, workspace in named
            if self.allows_paths or name not in cached
        }

    def _name_of(self, workspace: Workspace) -> str:
        bare = naming.quoted_name(workspace.folder)
        return bare if workspace.at_home and bare in self._at_home(self._cached()) else workspace.path

    def _snapshot_entry(
        self, name: str, repo: CachedRepo, snapshot: CachedSnapshot, finding: Finding | None
    ) -> ModelEntry:
        if snapshot.problem is not None:
            finding = finding or Finding(Integrity.CORRUPT, snapshot.problem)
        return ModelEntry(
            name=name,
            cached=True,
            location=snapshot.location if snapshot.problem is None else None,
            modified=snapshot.modified,
            commit=snapshot.commit,
            unfinished=repo.unfinished,
            finding=finding,
            manifest=self.store.manifest(snapshot),
        )


def workspace_entry(name: str, workspace: Workspace) -> ModelEntry:
    """Return the entry of a workspace."""
    return ModelEntry(
        name=name,
        cached=False,
        location=workspace.location,
        modified=workspace.modified,
        origin=workspace.origin,
        is_managed=workspace.is_managed,
    )


def _not_found_hint(word: str, suggestions: Sequence[str], *, has_models: bool) -> Hint:
    if starters.named(word) is not None:
        return Hint(HintCode.PULL_MODEL, name=word)
    if suggestions:
        return Hint(HintCode.DID_YOU_MEAN, name=suggestions[0])
    return Hint(HintCode.LIST_MODELS if has_models else HintCode.NO_MODELS)
