"""``pull`` from a Hub on loopback: what it fetches, keeps and repairs, and that huggingface_hub can use the result."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import mlxknife
from tests.adapters.damages import LFS_POINTER
from tests.builder import BuiltModel, Layout, chat_files
from tests.e2e.processes import Machine, Outcome
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

NAME = "org/tiny-chat"
FILES = chat_files(card=True) | {"extra/notes.txt": b"notes\n" * 20}
WEIGHTS = "model.safetensors"
_CONTENT = re.compile(r"/.+/[0-9a-f]{40}/(?P<file>.+)")


@attrs.frozen
class Site:
    """A machine, and the Hub it pulls from."""

    machine: Machine
    hub: FakeHub

    def environment(self, **variables: str) -> dict[str, str]:
        return self.machine.environment(HF_ENDPOINT=self.hub.endpoint, **variables)

    def run(self, *words: str, **variables: str) -> Outcome:
        return self.machine.run("pull", *words, environment=self.environment(**variables))

    def pull(self, *words: str, **variables: str) -> dict[str, Any]:
        """Return the data of a successful pull, and check that stderr is empty."""
        outcome = self.run(*words, "--json", **variables)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        return outcome.data()

    def built(self, commit: str, name: str = NAME) -> BuiltModel:
        """Return the paths that a pulled model should have in the cache."""
        repo = self.machine.hub / f"models--{name.replace('/', '--')}"
        return BuiltModel(name, repo, repo / "snapshots" / commit, commit)

    def fetched(self) -> dict[str, int]:
        """Return the files requested since the last reset of the Hub, with the bytes sent of each."""
        found: dict[str, int] = {}
        for seen in self.hub.requests():
            content = _CONTENT.fullmatch(seen.path)
            if content and seen.path.startswith(("/cdn/", "/org/", "/mlx-community/")):
                sent = seen.bytes_sent if seen.status in (200, 206) else 0
                found[content["file"]] = found.get(content["file"], 0) + sent
        return found

    def verified(self) -> dict[str, str]:
        """Return the verified integrity of every model in the cache."""
        app = mlxknife.open_app(hub_cache=self.machine.hub, environment={})
        return {entry.name: entry.integrity.value for entry in app.health.check(verify=True).entries}

    def refs(self, name: str = NAME) -> dict[str, str]:
        folder = self.built("", name).repo / "refs"
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def client(self, program: str) -> str:
        """Run a Python program that uses huggingface_hub on the same cache."""
        quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        script = f"from huggingface_hub import *\n{program}"
        outcome = self.machine.run("-c", script, program="python", environment=self.environment(**quiet))
        assert outcome.code == 0, outcome.err
        return outcome.out


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    with FakeHub() as hub:
        yield Site(machine, hub)


def failure(outcome: Outcome) -> dict[str, Any]:
    """Return the error of a failed pull, and check that stderr is empty."""
    document = outcome.document()
    assert (document["status"], document["command"], outcome.err) == ("error", "pull", "")
    error = document["error"]
    assert isinstance(error, dict)
    return error


def sizes(*names: str) -> dict[str, int]:
    return {name: len(FILES[name]) for name in names or FILES}


def content(snapshot: Path) -> dict[str, bytes]:
    return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}


def picture(folder: Path) -> dict[str, tuple[int, object]]:
    """Return every path below a folder with its modification time and content."""

    def what(path: Path) -> object:
        return os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None

    return {str(path.relative_to(folder)): (path.lstat().st_mtime_ns, what(path)) for path in folder.rglob("*")}


def test_a_pulled_model_is_listed_and_verified_and_not_pulled_again(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    first = site.run(NAME)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("Successfully downloaded model org/tiny-chat (7 files, ")
    assert content(site.built(commit).snapshot) == FILES
    assert site.refs() == {"main": commit}
    assert site.machine.run("list", "--json").names() == [NAME]
    health = site.machine.run("health", "--verify")
    assert health.out == f"verified   {NAME}\n1 model, 1 healthy (1 verified), 0 unhealthy\n"
    assert site.fetched() == sizes()
    site.hub.reset()
    before = picture(site.machine.hub)
    again = site.run(NAME)
    assert (again.code, again.out, again.err) == (0, "Model org/tiny-chat already exists in cache\n", "")
    assert site.pull(NAME)["download_status"] == "already_exists"
    assert site.hub.requests()
    assert site.hub.requests(path_part="/resolve/") == []
    assert picture(site.machine.hub) == before


# --- revisions


@pytest.mark.parametrize(
    ("form", "revision"),
    [
        *(("{name}@{revision}", revision) for revision in ("main", "try/this", "v1", "commit", "short")),
        *(("{name} --revision {revision}", revision) for revision in ("v1", "commit")),
    ],
)
def test_branches_and_tags_get_a_ref_and_commits_do_not(site: Site, revision: str, form: str) -> None:
    commits = {"try/this": site.hub.add(NAME, FILES | {"a.txt": b"side"}, revision="try/this")}
    old = site.hub.add(NAME, FILES)
    site.hub.tag(NAME, "v1")
    site.hub.tag(NAME, old[:7])  # a Hub that resolves abbreviated commits
    commits |= {"main": site.hub.add(NAME, FILES | {"a.txt": b"new"}), "v1": old, "commit": old, "short": old}
    word = {"commit": old, "short": old[:7]}.get(revision, revision)
    data = site.pull(*form.format(name=NAME, revision=word).split())
    commit = commits[revision]
    assert data["revision"] == commit
    assert [path.name for path in site.built(commit).snapshot.parent.iterdir()] == [commit]
    assert site.refs() == ({} if word in old else {revision: commit})
    assert site.verified() == {NAME: "verified"}


def test_the_first_characters_of_a_cached_commit_select_it(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    site.pull(NAME)
    assert site.pull(f"{NAME}@{commit[:7]}")["download_status"] == "already_exists"


def test_two_revisions_share_equal_files(site: Site) -> None:
    old = site.hub.add(NAME, FILES)
    site.hub.tag(NAME, "v1")
    site.pull(NAME)
    new_files = FILES | {"config.json": FILES["config.json"] + b"\n", "added.txt": b"added"}
    new = site.hub.add(NAME, new_files)
    site.hub.reset()
    data = site.pull(NAME)
    assert site.fetched() == {"config.json": len(new_files["config.json"]), "added.txt": 5}
    assert data["bytes_to_fetch"] == sum(site.fetched().values())
    assert site.refs() == {"main": new}
    assert content(site.built(old).snapshot) == FILES
    assert content(site.built(new).snapshot) == new_files
    assert site.built(old).blob(WEIGHTS).resolve() == site.built(new).blob(WEIGHTS).resolve()
    site.hub.reset()
    site.pull(f"{NAME}@v1")
    assert site.fetched() == {}
    assert site.refs() == {"main": new, "v1": old}


# --- how much of it


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--include", "config.json", "--include", "extra/"), {"config.json", "extra/notes.txt"}),
        (("--include", "*.json", "*.md", "--exclude", "tok*"), {"README.md", "config.json", "special_tokens_map.json"}),
        (("--exclude", "*.safetensors", "extra/*"), FILES.keys() - {WEIGHTS, "extra/notes.txt"}),
    ],
)
def test_patterns_select_files_and_a_later_pull_adds_the_others(
    site: Site, words: tuple[str, ...], expected: set[str]
) -> None:
    commit = site.hub.add(NAME, FILES)
    site.pull(NAME, *words)
    assert site.fetched() == sizes(*expected)
    assert content(site.built(commit).snapshot).keys() == expected
    site.hub.reset()
    site.pull(NAME)
    assert site.fetched() == sizes(*(FILES.keys() - expected))
    assert content(site.built(commit).snapshot) == FILES


def test_a_dry_run_prints_the_files_and_changes_nothing(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    everything = site.pull(NAME, "--dry-run")
    assert everything["download_status"] == "would_download"
    assert {file["name"]: file["size_bytes"] for file in everything["files"]} == sizes()
    assert everything["bytes_to_fetch"] == everything["total_bytes"] == sum(sizes().values())
    assert not site.machine.hub.exists()
    site.pull(NAME)
    blob = site.built(commit).blob(WEIGHTS)
    blob.write_bytes(bytes(blob.stat().st_size))
    before = picture(site.machine.hub)
    shown = site.run(NAME, "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == [WEIGHTS]
    data = site.pull(NAME, "--dry-run")
    assert data["bytes_to_fetch"] == len(FILES[WEIGHTS])
    assert {file["name"] for file in data["files"] if file["action"] == "repair"} == {WEIGHTS}
    assert picture(site.machine.hub) == before


def test_force_fetches_everything_again(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    site.pull(NAME)
    before = site.built(commit).blob(WEIGHTS).stat().st_ino
    site.hub.reset()
    assert site.pull(NAME, "--force")["download_status"] == "success"
    assert site.fetched() == sizes()
    assert site.built(commit).blob(WEIGHTS).stat().st_ino != before
    assert site.verified() == {NAME: "verified"}


# --- what others made, and what others make of ours


def test_the_cache_is_compatible_with_huggingface_hub_in_both_directions(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    folder = site.client(f"print(snapshot_download({NAME!r}))").strip()
    site.hub.reset()
    assert site.pull(NAME)["download_status"] == "already_exists"
    new = site.hub.add(NAME, FILES | {"added.txt": b"added"})
    site.pull(NAME)
    assert site.fetched() == {"added.txt": 5}
    site.hub.reset()
    answer = site.client(f"""
info = scan_cache_dir()
print(info.warnings, [(repo.repo_id, sorted(repo.refs), len(repo.revisions)) for repo in info.repos])
print(snapshot_download({NAME!r}, local_files_only=True))
print(snapshot_download({NAME!r}))""").splitlines()
    assert answer == [f"[] [('{NAME}', ['main'], 2)]", *[folder.replace(commit, new)] * 2]
    assert site.fetched() == {}


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_of_the_cache_is_accepted_and_repaired(site: Site, layout: Layout) -> None:
    commit = site.hub.add(NAME, FILES)
    built = site.machine.cache.model(NAME, FILES, layout=layout, commit=commit)
    assert site.pull(NAME)["download_status"] == "already_exists"
    assert site.fetched() == {}
    built.blob(WEIGHTS).resolve().write_bytes(LFS_POINTER)
    site.pull(NAME)
    assert site.fetched() == sizes(WEIGHTS)
    assert content(built.snapshot) == FILES


def test_a_renamed_repo_can_be_pulled_by_its_old_name(site: Site) -> None:
    commit = site.hub.add("org/old", FILES)
    site.hub.rename("org/old", NAME)
    assert site.pull("org/old")["revision"] == commit
    assert content(site.built(commit, "org/old").snapshot) == FILES
    assert site.machine.run("list", "--json").names() == ["org/old"]
