"""``rm``: what it removes, what it keeps, and when it asks."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.builder import BuiltModel, Files, Layout, chat_files, commit_of, sharded_files, write_workspace
from tests.e2e.processes import BIN, Machine


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def hold(path: Path) -> int:
    """Hold a lock as huggingface_hub does during a download."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@pytest.mark.parametrize("layout", list(Layout))
def test_an_exact_name_is_removed_completely(machine: Machine, layout: Layout) -> None:
    machine.cache.model("org/stays", layout=layout)
    before = tree(machine.hub)
    gone = machine.cache.model("org/goes", chat_files(salt=1), layout=layout)
    data = machine.run("rm", "org/goes", "--json").data()
    assert data["action"] == "deleted"
    assert data["message"] == "Successfully deleted org/goes"
    assert data["removed"] == [{"name": "org/goes", "revision": None, "size_bytes": data["freed_bytes"]}]
    assert not gone.repo.exists()
    assert {path for path in tree(machine.hub) if not path.startswith("blobs/")} == {
        path for path in before if not path.startswith("blobs/")
    }
    assert machine.run("health", "--verify", "--strict").code == 0


@pytest.mark.parametrize("word", ["goes", "org/goes"])
def test_an_exact_name_or_last_part_needs_no_confirmation(machine: Machine, word: str) -> None:
    machine.cache.model("org/goes")
    assert machine.run("rm", word).code == 0
    assert machine.run("list", "--json").names() == []


@pytest.mark.parametrize("words", [("oe",), ("org/*",), ("*",)])
def test_a_partial_name_needs_confirmation_or_force_without_a_terminal(
    machine: Machine, words: tuple[str, ...]
) -> None:
    machine.cache.model("org/goes")
    before = tree(machine.hub)
    outcome = machine.run("rm", *words, "--json")
    error = outcome.error()
    assert (outcome.code, error["type"], error["matches"]) == (1, "confirmation_required", ["org/goes"])
    assert tree(machine.hub) == before
    assert machine.run("rm", *words, "--force").code == 0
    assert machine.run("list", "--json").names() == []


def test_the_full_name_and_the_commit_are_answered(machine: Machine) -> None:
    one = machine.cache.model("org/Qwen3-4B", chat_files(salt=1), commit=commit_of("one"))
    two = machine.cache.model("org/Qwen3-8B", chat_files(salt=2), commit=commit_of("two"))
    data = machine.run("rm", f"Qwen3@{one.commit[:3]}", "--force", "--json").data()
    assert (data["model"], data["commit_hash"], data["lock_files_cleaned"]) == ("org/Qwen3-4B", one.commit, 0)
    assert (one.repo.exists(), two.repo.exists()) == (False, True)
    handle = hold(machine.hub / ".locks" / two.repo.name / f"{'a' * 64}.lock")
    locked = machine.run("rm", "Qwen3-8B", "--json").document()
    os.close(handle)
    assert locked["data"] == {
        "model": "org/Qwen3-8B",
        "locks_detected": True,
        "lock_files": [f".locks/{two.repo.name}/{'a' * 64}.lock"],
    }


def test_several_names_are_removed_together_or_not_at_all(machine: Machine) -> None:
    for number, name in enumerate(("org/a", "org/b", "org/c")):
        machine.cache.model(name, chat_files(salt=number))
    missing = machine.run("rm", "a", "nothing", "b", "--json")
    assert (missing.code, missing.error()["type"]) == (1, "model_not_found")
    locked = machine.cache.model("org/locked").repo.name
    handle = hold(machine.hub / ".locks" / locked / f"{'a' * 64}.lock")
    refused = machine.run("rm", "a", "locked", "--json").document()
    os.close(handle)
    assert isinstance(refused["data"], dict)
    assert refused["data"]["model"] == "org/locked"
    assert len(machine.run("list", "--json").names()) == 4
    data = machine.run("rm", "a", "org/b", "a", "--json").data()
    assert (data["model"], data["action"]) == ("a org/b a", "deleted")
    assert isinstance(data["removed"], list)
    assert [one["name"] for one in data["removed"]] == ["org/a", "org/b"]
    assert machine.run("rm", "lock", "or*c", "-f").code == 0
    assert machine.run("list", "--json").names() == []


def test_a_part_of_several_names_is_ambiguous_even_with_force(machine: Machine) -> None:
    machine.cache.model("org/llama-1")
    machine.cache.model("org/llama-2")
    outcome = machine.run("rm", "llama", "--force", "--json")
    document = outcome.document()
    assert document["data"] == {"matches": ["org/llama-1", "org/llama-2"]}
    assert outcome.code == 1
    assert len(machine.run("list", "--json").names()) == 2


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    machine.cache.model("org/model")
    before = tree(machine.hub)
    data = machine.run("rm", "org/model", "--dry-run", "--json").data()
    assert data["action"] == "would_delete"
    assert data["freed_bytes"] == sum(map(len, chat_files().values()))
    assert tree(machine.hub) == before


def two_revisions(machine: Machine) -> tuple[BuiltModel, BuiltModel]:
    old_files: Files = sharded_files()
    new_files = old_files | {"config.json": chat_files(salt="new")["config.json"]}
    old = machine.cache.model("org/model", old_files, commit=commit_of("old"), ref="v1")
    new = machine.cache.model("org/model", new_files, commit=commit_of("new"))
    return old, new


def test_removing_a_revision_removes_only_its_own_blobs(machine: Machine) -> None:
    old, new = two_revisions(machine)
    only_old = old.blob("config.json").resolve()
    assert machine.run("rm", "org/model@v1").code == 0
    assert not old.snapshot.exists()
    assert not old.ref("v1").exists()
    assert not only_old.exists()
    data = machine.run("health", "org/model", "--verify", "--json").data()
    healthy = data["healthy"]
    assert isinstance(healthy, list)
    assert healthy[0]["integrity"] == "verified"
    assert new.ref().read_text() == new.commit


def test_removing_the_last_revision_removes_the_repo(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    assert machine.run("rm", f"org/model@{built.commit[:6]}").code == 0
    assert not built.repo.exists()


def test_a_live_lock_refuses_even_force_and_a_stale_one_does_not(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    before = tree(built.repo)
    lock = machine.hub / ".locks" / built.repo.name / f"{'a' * 64}.lock"
    handle = hold(lock)
    outcome = machine.run("rm", "org/model", "--force", "--json")
    document = outcome.document()
    assert document["data"] == {
        "model": "org/model",
        "locks_detected": True,
        "lock_files": [f".locks/{built.repo.name}/{lock.name}"],
    }
    assert (outcome.code, document["status"]) == (1, "error")
    assert tree(built.repo) == before
    os.close(handle)
    assert machine.run("rm", "org/model").code == 0
    assert not built.repo.exists()


def test_workspaces_need_force_and_must_be_ours(machine: Machine) -> None:
    machine.workspace("mine")
    elsewhere = write_workspace(machine.root / "elsewhere")
    refused = machine.run("rm", "mine", "--json").error()
    assert refused["type"] == "confirmation_required"
    assert machine.run("rm", "mine", "--force").code == 0
    assert not (machine.home / "mine").exists()
    foreign = machine.run("rm", "./elsewhere", "--force", "--json")
    assert (foreign.code, foreign.error()["type"]) == (1, "ValidationError")
    (elsewhere / ".mlxk_workspace.json").write_text('{"managed": true}')
    assert machine.run("rm", "./elsewhere", "--force").code == 0
    assert not elsewhere.exists()


def test_orphans_and_stale_partials_are_removed_and_live_ones_are_kept(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    blobs = built.repo / "blobs"
    before = tree(built.repo)
    for name in ("e" * 64, f"{'f' * 64}.incomplete", f"{'a' * 64}.12345678.incomplete"):
        (blobs / name).write_bytes(b"left over")
    live = blobs / f"{'b' * 64}.12345678.incomplete"
    live.write_bytes(b"still coming")
    handle = hold(machine.hub / ".locks" / built.repo.name / f"{'b' * 64}.lock")
    refused = machine.run("rm", "--orphans", "--json")
    assert refused.error()["type"] == "confirmation_required"
    shown = machine.run("rm", "--orphans", "--dry-run", "--json").data()["removed"]
    assert isinstance(shown, list)
    assert len(shown) == 3
    removed = machine.run("rm", "--orphans", "--force", "--json").data()["removed"]
    assert isinstance(removed, list)
    assert len(removed) == 3
    os.close(handle)
    assert tree(built.repo) == before | {f"blobs/{live.name}"}
    assert machine.run("rm", "--orphans", "--force").code == 0
    assert tree(built.repo) == before


@pytest.mark.parametrize("part", ["snapshots", "blobs", "refs"])
def test_a_removal_never_follows_planted_links(machine: Machine, part: str) -> None:
    old, _ = two_revisions(machine)
    outside = machine.root / "precious"
    (old.repo / part).rename(outside)
    (old.repo / part).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    machine.run("rm", "org/model@v1", "--force")
    machine.run("rm", "--orphans", "--force")
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert machine.run("rm", "org/model", "--force").code == 0
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_removing_a_repo_that_is_a_link_removes_only_the_link(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    outside = machine.root / "other-disk"
    built.repo.rename(outside)
    built.repo.symlink_to(outside)
    before = tree(outside)
    assert machine.run("rm", "org/model").code == 0
    assert not built.repo.is_symlink()
    assert tree(outside) == before


def test_a_trash_that_is_a_link_is_refused(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    outside = machine.root / "outside"
    outside.mkdir()
    (machine.hub / ".mlxk-trash").symlink_to(outside)
    outcome = machine.run("rm", "org/model", "--json")
    assert (outcome.code, outcome.document()["data"]) == (3, {"model": "org/model"})
    assert built.repo.exists()
    assert list(outside.iterdir()) == []


def test_a_model_with_read_only_folders_is_removed(machine: Machine) -> None:
    built = machine.cache.model("org/model", sharded_files())
    for folder in (built.snapshot, built.repo / "blobs"):
        folder.chmod(0o500)
    assert machine.run("rm", "org/model").code == 0
    assert sorted(os.listdir(machine.hub)) == []


@pytest.mark.parametrize(
    "words", [(), ("org/model", "--orphans"), ("org/../model",), ("org/none",), ("org/model@zzz",)]
)
def test_wrong_names_and_arguments_are_refused(machine: Machine, words: tuple[str, ...]) -> None:
    machine.cache.model("org/model")
    before = tree(machine.hub)
    outcome = machine.run("rm", *words, "--json")
    assert (outcome.code, outcome.document()["status"]) == (1, "error")
    assert tree(machine.hub) == before


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 1), (b"\n", 1, 1)])
def test_a_terminal_is_asked_for_confirmation(machine: Machine, answer: bytes, code: int, left: int) -> None:
    machine.cache.model("org/model")
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "mlxk"), "rm", "mode"], env=machine.environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(mine, 1000)
        os.write(mine, answer)
        assert process.wait(20) == code
    os.close(mine)
    assert b"org/model" in shown
    assert len(machine.run("list", "--json").names()) == left
