"""Folders and files that this user may not read: each is reported with its reason, and hides no other model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlxknife import AccessDenied, Integrity
from tests.adapters.stage import GOOD, SICK, Stage
from tests.builder import BuiltModel

NOBODY_UID = 65534


@pytest.fixture
def open_stage() -> Iterator[Stage]:
    """Give a stage that other users can enter; pytest's own folders are private."""
    root = Path(tempfile.mkdtemp(prefix="mlxk-unreadable-"))
    root.chmod(0o755)
    stage = Stage(hub=root / "hub", home=root / "workspaces")
    stage.good_models()
    # This imports everything while root can still read the packages.
    assert len(stage.listed()) == len(stage.checked()) == len(GOOD)
    yield stage
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)
    shutil.rmtree(root)


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Remove all permissions of some paths, and run the block without root's rights."""
    for path in paths:
        path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY_UID)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o755)


def repo(model: BuiltModel) -> Path:
    return model.repo


def snapshots(model: BuiltModel) -> Path:
    return model.repo / "snapshots"


def snapshot(model: BuiltModel) -> Path:
    return model.snapshot


def refs(model: BuiltModel) -> Path:
    return model.repo / "refs"


def blobs(model: BuiltModel) -> Path:
    return model.repo / "blobs"


def config(model: BuiltModel) -> Path:
    return model.blob("config.json")


def weights(model: BuiltModel) -> Path:
    return model.blob("model.safetensors")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (repo, ("model folder cannot be read", "Permission denied")),
        (snapshots, ("snapshots", "cannot be read", "Permission denied")),
        (snapshot, ("folder cannot be read", "Permission denied")),
        (refs, ("refs", "cannot be read", "Permission denied")),
        (blobs, ("unreadable", "config.json")),
        (config, ("unreadable", "config.json")),
        (weights, ("unreadable", "model.safetensors")),
    ],
)
def test_an_unreadable_part_makes_only_its_model_unhealthy(
    open_stage: Stage, place: Callable[[BuiltModel], Path], words: tuple[str, ...]
) -> None:
    with locked(place(open_stage.model())):
        models, checked = open_stage.listed(), open_stage.checked()
    assert models.keys() == {*GOOD, SICK}
    assert all(models[name].integrity is Integrity.STRUCTURAL for name in GOOD)
    sick = models[SICK]
    assert sick.integrity is Integrity.INCOMPLETE
    assert [word for word in words if word not in (sick.reason or "")] == [], sick.reason
    assert checked[SICK].reason == sick.reason
    assert sick.is_unreadable is (place in (repo, snapshots, snapshot))
    assert sick.modified > 0


def test_a_ref_that_may_not_be_read_is_the_reason(open_stage: Stage) -> None:
    with locked(open_stage.model().ref()):
        sick = open_stage.listed()[SICK]
    assert not sick.integrity.healthy
    assert "refs/main" in (sick.reason or "")


def test_a_workspace_that_may_not_be_read_is_listed(open_stage: Stage) -> None:
    with locked(open_stage.workspace("closed")):
        closed = open_stage.listed()["closed"]
    assert (closed.integrity, closed.cached) == (Integrity.INCOMPLETE, False)
    assert "Permission denied" in (closed.reason or "")
    assert closed.is_unreadable


def test_a_cache_that_may_not_be_read_is_an_error(open_stage: Stage) -> None:
    with locked(open_stage.hub), pytest.raises(AccessDenied) as caught:
        open_stage.app().catalog.list()
    assert str(open_stage.hub) in caught.value.message


def test_a_workspace_home_that_may_not_be_read_is_an_error(open_stage: Stage) -> None:
    open_stage.workspace("experiment")
    with locked(open_stage.home), pytest.raises(AccessDenied) as caught:
        open_stage.app().catalog.list()
    assert str(open_stage.home) in caught.value.message


def test_a_path_that_may_not_be_read_is_an_error(open_stage: Stage) -> None:
    folder = open_stage.workspace("closed")
    with locked(folder), pytest.raises(AccessDenied):
        open_stage.app().catalog.show(str(folder))
