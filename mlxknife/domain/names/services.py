"""Finding models: everything that is there, and the one that a spec means."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from mlxknife.domain.errors import AmbiguousMatch, ModelNotFound
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.stored_models import CachedRepo, CachedSnapshot, ModelEntry, Workspace
from mlxknife.domain.models.values.verdict import Finding, Integrity
from mlxknife.domain.names.rules import naming, revisions
from mlxknife.ports.store.model_store import ModelStore
from mlxknife.ports.workspaces.workspaces import Workspaces


@attrs.frozen
class ModelFolder:
    """Where a model stands: the name of its folder in the cache, or its workspace."""

    name: str
    folder: str | Workspace


@attrs.frozen
class Finder:
    """Puts the cache and the workspaces together under one set of names."""

    store: ModelStore
    workspaces: Workspaces
    allows_paths: bool = True
    """Whether a spec may be a path; somebody from outside has no business with paths."""

    def places(self, pattern: str = "") -> tuple[ModelFolder, ...]:
        """Return the places of every model whose name contains a pattern, sorted by name.

        Raises StorageError or AccessDenied when the cache or the workspace home cannot be listed.
        """
        folders = self._cached()
        places: dict[str, str | Workspace] = {**self._at_home(folders), **folders}
        wanted = naming.matching(pattern, places) if pattern else places
        return tuple(
            ModelFolder(name, places[name]) for name in sorted(wanted, key=lambda name: (name.casefold(), name))
        )

    def entry(self, place: ModelFolder) -> ModelEntry:
        """Look at a model from outside. Raises nothing."""
        if isinstance(place.folder, Workspace):
            return workspace_entry(place.name, place.folder)
        return self.cached_entry(place.name, place.folder)

    def find(self, text: str) -> ModelEntry:
        """Return the one model that a spec means.

        Raises ValidationError for what can be no name, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        place, revision = self.place(text)
        if isinstance(place.folder, Workspace):
            return workspace_entry(place.name, place.folder)
        return self.cached_entry(place.name, place.folder, revision)

    def place(self, text: str) -> tuple[ModelFolder, str | None]:
        """Return the place of the one model that a spec means, and the revision that the spec names.

        Raises what ``find`` raises; the revision is not looked up.
        """
        spec = naming.parse_spec(text)
        if spec.is_path and not self.allows_paths:
            msg = f"No model found matching '{text}'"
            raise ModelNotFound(msg, hint=HintCode.NAME_NOT_PATH)
        if spec.is_path or (self.allows_paths and self.workspaces.holds_model(text)):
            workspace = self.workspaces.at_path(text)
            return ModelFolder(self._name_of(workspace), workspace), None
        folders = self._cached()
        homes = self._at_home(folders)
        name = _only_candidate(spec.name, folders, homes)
        if name in folders:
            return ModelFolder(name, folders[name]), spec.revision
        if spec.revision is not None:
            msg = f"Workspace '{name}' has no revisions"
            raise ModelNotFound(msg, hint=Hint(HintCode.PLAIN_NAME, name=name))
        return ModelFolder(name, homes[name]), None

    def _cached(self) -> dict[str, str]:
        return {naming.repo_name(folder): folder for folder in self.store.folders()}

    def _at_home(self, taken: Collection[str]) -> dict[str, Workspace]:
        """Name the workspaces of the home: a bare name that a cached model has already gives way to the path."""
        named = ((naming.quoted_name(workspace.folder), workspace) for workspace in self.workspaces.at_home())
        return {
            workspace.path if name in taken else name: workspace
            for name, workspace in named
            if self.allows_paths or name not in taken
        }

    def _name_of(self, workspace: Workspace) -> str:
        bare = naming.quoted_name(workspace.folder)
        return bare if workspace.at_home and bare in self._at_home(self._cached()) else workspace.path

    def cached_entry(self, name: str, folder: str, revision: str | None = None) -> ModelEntry:
        """Look at a model of the cache, or one revision of it. Raises ModelNotFound, AmbiguousMatch for the latter."""
        repo = self.store.repo(folder)
        if revision is not None:
            return self._snapshot_entry(name, repo, revisions.only_snapshot(name, repo, revision), None)
        snapshot, finding = revisions.default_snapshot(repo)
        if snapshot is None:
            return ModelEntry(
                name=name,
                cached=True,
                location=None,
                modified=repo.modified,
                finding=finding,
            )
        return self._snapshot_entry(name, repo, snapshot, finding)

    def _snapshot_entry(
        self,
        name: str,
        repo: CachedRepo,
        snapshot: CachedSnapshot,
        finding: Finding | None,
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


def _only_candidate(word: str, cached: Collection[str], at_home: Collection[str]) -> str:
    found = naming.candidates(word, cached, at_home)
    if not found:
        suggestions = naming.nearest(word, (*cached, *at_home))
        msg = f"No model found matching '{word}'"
        raise ModelNotFound(msg, suggestions=suggestions, hint=_after_a_miss(word, suggestions))
    if len(found) > 1:
        msg = f"Multiple models match '{word}'"
        raise AmbiguousMatch(msg, matches=found, hint=HintCode.FULL_NAMES)
    return found[0]


def _after_a_miss(word: str, suggestions: Sequence[str]) -> Hint:
    if starters.named(word) is not None:
        return Hint(HintCode.PULL_MODEL, name=word)
    return Hint(HintCode.DID_YOU_MEAN, name=suggestions[0]) if suggestions else Hint(HintCode.LIST_MODELS)


def workspace_entry(name: str, workspace: Workspace) -> ModelEntry:
    """Describe a workspace as an entry of the catalog."""
    return ModelEntry(
        name=name,
        cached=False,
        location=workspace.location,
        modified=workspace.modified,
        origin=workspace.origin,
    )
