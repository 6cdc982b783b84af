from __future__ import annotations

import pytest

from mlxknife.domain.errors import (
    AccessDenied,
    AmbiguousMatch,
    LocksPresent,
    ModelNotFound,
    StorageError,
    ValidationError,
)
from mlxknife.domain.names.services import Finder
from mlxknife.domain.removal.services import Remover
from mlxknife.domain.removal.values import RemovalPlan, TrashItem
from tests.fakes.model_store import FakeStore
from tests.fakes.removal_store import FakeRemovalStore, StoredRepo
from tests.fakes.workspaces import FakeWorkspaces

_OLD, _NEW = "0abc" + "0" * 36, "0abd" + "0" * 36
_FILES = frozenset({"config.json", "model.safetensors"})
_TWO = StoredRepo(
    blobs={"both": 100, "old": 10, "new": 1, "orphan": 1_000},
    snapshots={_OLD: {"x": "both", "y": "old"}, _NEW: {"x": "both", "y": "new"}},
    refs={"main": _NEW, "v1": _OLD, "dev": _OLD},
    plain={_OLD: 5},
)
_SINGLE = StoredRepo(blobs={"a": 7, "orphan": 1}, snapshots={_NEW: {"x": "a"}}, refs={"main": _NEW})


def _remover(*names: str, workspaces: FakeWorkspaces | None = None) -> tuple[Remover, FakeRemovalStore]:
    """Return a remover over models of one snapshot, and ``org/two`` with two."""
    store, removal_store = FakeStore(), FakeRemovalStore()
    for name in (*names, "org/two"):
        folder = f"models--{name.replace('/', '--')}"
        removal_store.repos[folder] = repo = _TWO if name == "org/two" else _SINGLE
        store.add(folder, refs=repo.refs, snapshots=repo.snapshots)
    homes = workspaces or FakeWorkspaces(folders={"/home/models/mine": _FILES, "/current/foreign": _FILES})
    return Remover(Finder(store, homes), store, removal_store, homes), removal_store


@pytest.mark.parametrize("spec", ["org/one", "one"])
def test_a_name_or_its_last_part_needs_no_confirmation(spec: str) -> None:
    plan = _remover("org/one")[0].plan(spec)
    (target,) = plan.targets
    assert (target.name, target.folder, target.commit, target.size_bytes) == ("org/one", "models--org--one", None, 8)
    assert (plan.confirmation_reason, plan.needs_force, plan.size_bytes) == (None, False, 8)


@pytest.mark.parametrize("spec", ["on", "ONE", "Org/One", "g/one", "org/on", "one@main", "on@main"])
def test_a_part_of_a_name_needs_a_confirmation(spec: str) -> None:
    plan = _remover("org/one")[0].plan(spec)
    assert [target.name for target in plan.targets] == ["org/one"]
    assert (plan.confirmation_reason is None, plan.needs_force) == (spec == "one@main", False)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("*", ["a/one", "b/one", "mine", "org/two"]),
        ("*/one", ["a/one", "b/one"]),
        ("*t*o", ["org/two"]),
        ("m*e", ["mine"]),
        ("a/one*", ["a/one"]),
    ],
)
def test_a_pattern_takes_all_matches_and_needs_a_confirmation(spec: str, names: list[str]) -> None:
    plan = _remover("a/one", "b/one")[0].plan(spec)
    assert [target.name for target in plan.targets] == names
    assert plan.confirmation_reason


@pytest.mark.parametrize("spec", ["*three", "Three*", "a/*@main"])
def test_a_pattern_without_a_match_is_not_found(spec: str) -> None:
    with pytest.raises(ModelNotFound):
        _remover("a/one")[0].plan(spec)


def test_a_pattern_that_matches_a_workspace_needs_force_as_its_name_does() -> None:
    remover, _ = _remover("a/one")
    assert remover.plan("mi*").needs_force
    assert remover.plan("*").needs_force
    assert not remover.plan("a/*").needs_force


@pytest.mark.parametrize("revision", ["v1", "0abc", _OLD])
def test_a_revision_is_removed_with_its_refs_and_only_its_own_blobs(revision: str) -> None:
    remover, removal_store = _remover()
    plan = remover.plan(f"org/two@{revision}")
    (target,) = plan.targets
    assert (target.commit, target.label, set(target.refs)) == (_OLD, "org/two@0abc00000000", {"v1", "dev"})
    assert (target.size_bytes, plan.confirmation_reason) == (15, None)
    remover.execute(plan)
    left = removal_store.repos["models--org--two"]
    assert set(left.blobs) == {"both", "new", "orphan"}
    assert (set(left.snapshots), set(left.refs)) == ({_NEW}, {"main"})


@pytest.mark.parametrize(
    ("specs", "labels", "size"),
    [
        (("a/one", "b/one"), ["a/one", "b/one"], 16),
        (("a/one", "b/one@main", "a/one", "a/*"), ["a/one", "b/one@0abd00000000"], 16),
        (("two@v1", "org/two"), ["org/two"], 1_116),
        (("org/two", "two@v1"), ["org/two"], 1_116),
        (("two@dev", "two@v1"), ["org/two@0abc00000000"], 15),
        (("two@v1", "two@main"), ["org/two"], 1_116),
        (("mine", "~/models/mine", "a/one"), ["mine", "a/one"], 10),
    ],
)
def test_several_specs_take_each_model_once(specs: tuple[str, ...], labels: list[str], size: int) -> None:
    remover, removal_store = _remover("a/one", "b/one")
    plan = remover.plan(*specs)
    assert ([target.label for target in plan.targets], plan.size_bytes) == (labels, size)
    remover.execute(plan)
    kept = {"models--a--one", "models--b--one", "models--org--two"} - {target.folder for target in plan.targets}
    assert kept <= set(removal_store.repos)
    assert len(removal_store.repos) == len(kept) + any(target.commit for target in plan.targets)


def test_each_reason_to_confirm_is_given_once_and_a_workspace_still_needs_force() -> None:
    plan = _remover("a/one", "b/two-long")[0].plan("b/tw", "a/*", "b/*", "mine")
    assert plan.confirmation_reason is not None
    assert plan.confirmation_reason.count("pattern") == 1
    assert "'b/tw' is only a part of the name" in plan.confirmation_reason
    assert plan.needs_force


@pytest.mark.parametrize("bad", ["nothing", "", "one", "two@zzz", "/current/foreign", "*none*"])
def test_one_wrong_spec_refuses_all(bad: str) -> None:
    remover, removal_store = _remover("a/one", "b/one")
    with pytest.raises((ModelNotFound, ValidationError, AmbiguousMatch)):
        remover.plan("a/one", bad)
    assert len(removal_store.repos) == 3


def test_an_error_names_its_model_and_the_removed_ones_are_told() -> None:
    remover, removal_store = _remover("a/one", "b/one")
    removed: list[str] = []
    plan = remover.plan("a/one", "b/one")
    removal_store.locks.add(("models--b--one", "x"))
    with pytest.raises(LocksPresent) as caught:
        remover.execute(plan, lambda target: removed.append(target.name))
    assert (caught.value.model, removed) == ("b/one", [])
    removal_store.locks.clear()
    remover.execute(plan, lambda target: removed.append(target.name))
    assert removed == ["a/one", "b/one"]


def test_the_last_revision_is_removed_with_its_repo() -> None:
    remover, removal_store = _remover("org/one")
    (target,) = remover.plan("org/one@main").targets
    assert (target.commit, target.size_bytes) == (None, 8)
    remover.execute(RemovalPlan((target,)))
    assert set(removal_store.repos) == {"models--org--two"}


@pytest.mark.parametrize("spec", ["org/two@zzz", "org/two@v2", "org/none", "mine@main", "./nothing"])
def test_an_unknown_model_is_not_found(spec: str) -> None:
    with pytest.raises(ModelNotFound):
        _remover("org/one")[0].plan(spec)


def test_a_name_that_is_not_found_suggests_similar_names() -> None:
    with pytest.raises(ModelNotFound) as caught:
        _remover("org/llama-3")[0].plan("org/llama-4")
    assert caught.value.suggestions == ("org/llama-3",)


@pytest.mark.parametrize("spec", ["one", "on", "org/two@0ab"])
def test_several_matches_are_ambiguous(spec: str) -> None:
    remover, removal_store = _remover("a/one", "b/one")
    with pytest.raises(AmbiguousMatch):
        remover.plan(spec)
    assert len(removal_store.repos) == 3


@pytest.mark.parametrize("spec", ["", " ", "a/../b", "a\0", "x" * 97, "org/two@"])
def test_an_invalid_name_is_refused(spec: str) -> None:
    with pytest.raises(ValidationError):
        _remover("org/one")[0].plan(spec)


@pytest.mark.parametrize("spec", ["mine", "min", "~/models/mine", "../home/models/mine"])
def test_a_workspace_needs_force(spec: str) -> None:
    remover, _ = _remover()
    plan = remover.plan(spec)
    (target,) = plan.targets
    assert (target.name, target.workspace, target.folder) == ("mine", "/home/models/mine", None)
    assert (plan.needs_force, plan.size_bytes) == (True, 2)
    assert plan.confirmation_reason
    remover.execute(plan)
    assert remover.workspaces.at_home() == ()


@pytest.mark.parametrize("spec", ["./foreign", "/current/foreign", "foreign"])
def test_a_folder_that_mlxk_did_not_make_is_refused(spec: str) -> None:
    remover, _ = _remover()
    with pytest.raises(ValidationError):
        remover.plan(spec)
    assert remover.workspaces.holds_model("/current/foreign")


def test_a_folder_elsewhere_that_mlxk_made_can_be_removed() -> None:
    folders = {"/current/ours": _FILES}
    remover, _ = _remover(workspaces=FakeWorkspaces(folders=folders, origins={"/current/ours": "org/source"}))
    plan = remover.plan("./ours")
    assert (plan.targets[0].name, plan.needs_force) == ("/current/ours", True)
    remover.execute(plan)
    assert not remover.workspaces.holds_model("/current/ours")


def test_a_live_lock_of_one_model_keeps_all() -> None:
    remover, removal_store = _remover("a/one", "b/one", "c/one")
    removal_store.locks.add(("models--b--one", "x"))
    with pytest.raises(LocksPresent):
        remover.execute(remover.plan("*/one"))
    assert set(removal_store.repos) == {"models--a--one", "models--b--one", "models--c--one", "models--org--two"}
    assert removal_store.locked == []


def test_a_removal_empties_the_trash_of_an_earlier_one() -> None:
    remover, removal_store = _remover("org/one")
    removal_store.interrupted.append(TrashItem("0", "org/gone", 3))
    remover.execute(remover.plan("org/one"))
    assert removal_store.trash() == ()


def test_a_plan_changes_nothing() -> None:
    remover, removal_store = _remover("org/one")
    before = dict(removal_store.repos)
    for spec in ("org/one", "*", "org/two@v1", "mine"):
        remover.plan(spec)
    remover.leftovers()
    assert (removal_store.repos, len(remover.workspaces.at_home())) == (before, 1)


def test_leftovers_are_found_in_every_repo_and_in_the_trash() -> None:
    remover, removal_store = _remover("org/one")
    removal_store.interrupted.append(TrashItem("0", "org/gone", 3))
    found = remover.leftovers()
    assert [(orphan.name, orphan.blob.name) for orphan in found.orphans] == [
        ("org/one", "orphan"),
        ("org/two", "orphan"),
    ]
    assert (found.trash, found.size_bytes) == ((TrashItem("0", "org/gone", 3),), 1_004)


def test_a_sweep_returns_the_deleted_blobs_and_keeps_those_in_use_again() -> None:
    remover, removal_store = _remover("org/one")
    removal_store.interrupted.append(TrashItem("0", "org/gone", 3))
    found = remover.leftovers()
    removal_store.locks.add(("models--org--one", "orphan"))
    went = remover.sweep(found)
    assert [orphan.name for orphan in went.orphans] == ["org/two"]
    assert (went.trash, removal_store.trash()) == (found.trash, ())
    assert "orphan" in removal_store.repos["models--org--one"].blobs
    assert "orphan" not in removal_store.repos["models--org--two"].blobs


def test_an_empty_cache_has_no_leftovers() -> None:
    remover = Remover(Finder(FakeStore(), FakeWorkspaces()), FakeStore(), FakeRemovalStore(), FakeWorkspaces())
    found = remover.leftovers()
    assert (found.orphans, found.trash, remover.sweep(found)) == ((), (), found)


def test_errors_of_the_disk_are_passed_on() -> None:
    remover, removal_store = _remover("org/one")
    plan = remover.plan("org/one")
    removal_store.is_denied = True
    assert remover.leftovers().orphans == ()  # an unreadable repo does not block sweeping the others
    for refused in (lambda: remover.execute(plan), lambda: remover.plan("org/two@v1")):
        with pytest.raises(AccessDenied):
            refused()
    broken = FakeStore(failure=StorageError("no folder"))
    with pytest.raises(StorageError):
        Remover(Finder(broken, FakeWorkspaces()), broken, removal_store, FakeWorkspaces()).plan("*")
