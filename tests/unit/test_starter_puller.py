"""Pulling a starter: the plan, and the order of the steps."""

from __future__ import annotations

import hashlib

import attrs
import pytest

from mlxknife.domain.errors import ModelNotFound, NetworkError, ValidationError
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.models.rules import starters
from mlxknife.domain.models.values.starter import Starter
from mlxknife.domain.transfer.services.starter_puller import StarterPuller
from mlxknife.domain.workspaces.values import Origin
from tests.builder import Files, chat_files
from tests.fakes.importer import FakeImporter
from tests.fakes.snapshot_reader import FakeReader
from tests.fakes.starters import FakeStarters
from tests.fakes.workspace_builder import FakeWorkspaceBuilder
from tests.fakes.workspaces import FakeWorkspaces

DATA = b"GGUF and what follows"
PLACE = "/home/models/starter"
TINY = Starter(
    name="starter",
    package="tiny",
    version="1.0",
    wheel_bytes=50,
    member="tiny/model.gguf",
    size_bytes=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
    origin="org/model",
)


@pytest.fixture(autouse=True)
def _only_a_tiny_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starters, "_STARTERS", (TINY,))


@attrs.frozen
class Scene:
    """The service with the fakes that it uses."""

    starting: StarterPuller
    workspaces: FakeWorkspaces
    source: FakeStarters
    workspace_builder: FakeWorkspaceBuilder


def scene(there: Files | None = None, origin: str | None = TINY.origin, *, is_offline: bool = False) -> Scene:
    """Return a service over a workspace home with these files under the name of the starter."""
    folders = {} if there is None else {PLACE: frozenset(there)}
    origins = {PLACE: origin} if origin is not None and there is not None else {}
    workspaces = FakeWorkspaces(folders=folders, origins=origins)
    index = FakeStarters({TINY.requirement: {TINY.member: DATA}}, is_offline=is_offline)
    workspace_builder = FakeWorkspaceBuilder()
    reader = FakeReader({f"{PLACE}/{name}": data for name, data in (there or {}).items()})
    return Scene(
        StarterPuller(workspaces, Inspector(reader), index, FakeImporter(), workspace_builder),
        workspaces,
        index,
        workspace_builder,
    )


def test_a_starter_becomes_a_workspace() -> None:
    stage = scene()
    plan = stage.starting.plan("starter")
    assert (plan.is_in_place, plan.replaces, plan.bytes_to_fetch) == (False, None, TINY.wheel_bytes)
    stage.starting.execute(plan)
    origin, files = stage.workspace_builder.made["starter"]
    assert origin == Origin(source="org/model", operation="pull", revision="pypi:tiny==1.0")
    assert files["model.safetensors"] == DATA
    assert stage.workspace_builder.scratch_folders == []


def test_an_intact_workspace_is_left_alone() -> None:
    stage = scene(chat_files())
    plan = stage.starting.plan("starter")
    assert (plan.is_in_place, plan.bytes_to_fetch) == (True, 0)
    stage.starting.execute(plan)
    assert stage.source.fetched == []
    assert stage.workspace_builder.made == {}


def test_a_damaged_workspace_is_replaced() -> None:
    stage = scene(chat_files() | {"model.safetensors": b"damaged"})
    plan = stage.starting.plan("starter")
    assert (plan.is_in_place, plan.replaces) == (False, PLACE)
    assert plan.reason is not None
    stage.starting.execute(plan)
    assert PLACE not in stage.workspaces.folders
    assert "starter" in stage.workspace_builder.made


def test_a_damaged_workspace_stays_until_the_download_is_verified() -> None:
    stage = scene(chat_files() | {"model.safetensors": b"damaged"}, is_offline=True)
    with pytest.raises(NetworkError):
        stage.starting.execute(stage.starting.plan("starter"))
    assert PLACE in stage.workspaces.folders


@pytest.mark.parametrize("origin", [None, "org/other"])
def test_another_workspace_of_that_name_is_not_changed(origin: str | None) -> None:
    stage = scene({"config.json": b"{"}, origin)
    with pytest.raises(ValidationError) as caught:
        stage.starting.plan("starter")
    assert PLACE in caught.value.message


def test_an_unknown_starter_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        scene().starting.plan("starters")


def test_a_failed_import_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = attrs.evolve(TINY, size_bytes=1, sha256=hashlib.sha256(b"x").hexdigest())
    monkeypatch.setattr(starters, "_STARTERS", (other,))
    stage = scene()
    stage.source.packages = {TINY.requirement: {TINY.member: b"x"}}
    with pytest.raises(ValidationError):
        stage.starting.execute(stage.starting.plan("starter"))
    assert (stage.workspace_builder.made, stage.workspace_builder.scratch_folders) == ({}, [])
