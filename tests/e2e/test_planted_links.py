"""Planted links in a repo: no command follows them to write, to read a secret, or to remove."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.builder import chat_files, json_bytes, safetensors, sha256
from tests.e2e.sandbox import NAME, Sandbox, follows_contract, sandbox_at
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

OLD = chat_files(card=True) | {"sub/notes.txt": b"notes"}
MAIN = OLD | {"config.json": chat_files(salt="main")["config.json"]}
WEIGHTS = safetensors({"new": ("F16", (3,))})
NEW = MAIN | {"config.json": chat_files(salt="new")["config.json"], "new.safetensors": WEIGHTS}
COMING = sha256(WEIGHTS)
SECRET = b"correct-horse-battery-staple"
ORPHAN = "e" * 64
REPO = f"models--{NAME.replace('/', '--')}"


@attrs.frozen
class Site:
    """A repo with two revisions and orphans, and a folder outside of the cache."""

    sandbox: Sandbox
    commits: dict[str, str]
    place: Path
    """The target of planted links."""

    @property
    def repo(self) -> Path:
        return self.sandbox.repo

    @property
    def hub(self) -> Path:
        return self.sandbox.machine.hub

    @property
    def locks(self) -> Path:
        return self.hub / ".locks" / self.repo.name

    @property
    def snapshot(self) -> Path:
        return self.repo / "snapshots" / self.commits["main"]

    def moved_out(self, path: Path) -> None:
        """Move a path out of the repo, and leave a link in its place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        away = self.place / path.name
        if path.exists():
            path.rename(away)
        else:
            away.mkdir()
        path.symlink_to(away)

    def linked(self, path: Path, data: bytes = SECRET) -> None:
        """Replace a path by a symbolic link to a file outside."""
        (self.place / "file").write_bytes(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(self.place / "file")

    def hard_linked(self, path: Path, data: bytes = SECRET) -> None:
        """Replace a path by a hard link to a file outside."""
        (self.place / "file").write_bytes(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.hardlink_to(self.place / "file")

    def blob(self, name: str) -> Path:
        return self.snapshot / (self.snapshot / name).readlink()

    def trash(self, part: str) -> None:
        """Leave an unfinished removal in the trash, one part of which is a link to the outside."""
        item = self.hub / ".mlxk-trash/0123456789abcdef"
        (item / "content").mkdir(parents=True)
        (item / "note.json").write_bytes(json_bytes({"label": NAME, "folder": self.repo.name, "commit": "c" * 40}))
        (item / "content/a").symlink_to(f"../../blobs/{ORPHAN}")
        if part == "blobs":
            (self.place / ORPHAN).write_bytes(SECRET)
            (item / part).symlink_to(self.place)
        else:
            self.moved_out(item / part)

    def circular_links(self) -> None:
        for number, target in enumerate(("..", ".", "loop", "../../..", str(self.place))):
            (self.repo / "blobs" / f"{number}").symlink_to(target)
            (self.snapshot / f"{number}").symlink_to(target)


Plant = Callable[[Site], None]
Spot = Callable[[Site], Path]


def away(spot: Spot) -> Plant:
    return lambda site: site.moved_out(spot(site))


def link(spot: Spot, data: bytes = SECRET) -> Plant:
    return lambda site: site.linked(spot(site), data)


def hard_link(spot: Spot, data: bytes = SECRET) -> Plant:
    return lambda site: site.hard_linked(spot(site), data)


def part(name: str) -> Spot:
    return lambda site: site.repo / name


FOLDERS: dict[str, Spot] = {
    "repo": lambda site: site.repo,
    **{name: part(name) for name in ("blobs", "snapshots", "refs", "trees", ".mlxk", ".mlxk/staging", "refs/pr")},
    "snapshot": lambda site: site.snapshot,
    "old snapshot": lambda site: site.repo / "snapshots" / site.commits["v1"],
    "coming snapshot": lambda site: site.repo / "snapshots" / site.commits["new"],
    "folder of a snapshot": lambda site: site.snapshot / "sub",
    "locks": lambda site: site.hub / ".locks",
    "locks of the repo": lambda site: site.locks,
    "trash": lambda site: site.hub / ".mlxk-trash",
    "shared store": lambda site: site.hub / "blobs",
}
FILES: dict[str, Spot] = {
    "ref": part("refs/main"),
    "other ref": part("refs/v1"),
    "file of a snapshot": lambda site: site.snapshot / "config.json",
    "weights of a snapshot": lambda site: site.snapshot / "model.safetensors",
    "blob": lambda site: site.blob("config.json"),
    "large blob": lambda site: site.blob("model.safetensors"),
    "coming blob": part(f"blobs/{COMING}"),
    "partial": part(f"blobs/{COMING}.incomplete"),
    "partial of others": part(f"blobs/{COMING}.12345678.incomplete"),
    "partial of what is there": lambda site: site.blob("model.safetensors").with_suffix(".incomplete"),
    "orphan": part(f"blobs/{ORPHAN}"),
    "stamps": part(".mlxk/stamps.json"),
    "staged": part(".mlxk/staging/new"),
    "listing": lambda site: site.repo / "trees" / f"{site.commits['main']}.json",
    "coming listing": lambda site: site.repo / "trees" / f"{site.commits['new']}.json",
    "lock": lambda site: site.locks / f"{COMING}.lock",
    "our lock": lambda site: site.locks / "mlxk.lock",
    "publishing lock": lambda site: site.locks / "mlxk-publish.lock",
}
RIGHT = {
    "blob": MAIN["config.json"], "large blob": OLD["model.safetensors"], "coming blob": NEW["new.safetensors"],
    "partial": NEW["new.safetensors"][:9], "weights of a snapshot": OLD["model.safetensors"],
}  # fmt: skip
PLANTS: dict[str, Plant] = {
    "nothing": lambda _: None,
    "ways up and round": lambda site: site.circular_links(),
    "content of trash": lambda site: site.trash("content"),
    "note of trash": lambda site: site.trash("note.json"),
    "blobs of trash": lambda site: site.trash("blobs"),
    **{name: away(spot) for name, spot in FOLDERS.items()},
    **{f"{name}, linked": link(spot) for name, spot in FILES.items()},
    **{f"{name}, hard linked": hard_link(spot) for name, spot in FILES.items()},
    **{f"{name}, linked, right": link(FILES[name], data) for name, data in RIGHT.items()},
    **{f"{name}, hard linked, right": hard_link(FILES[name], data) for name, data in RIGHT.items()},
}

PULL, FORCE, COMING_UP = ("pull", NAME), ("pull", NAME, "--force"), ("pull", f"{NAME}@new")
REMOVE, REVISION, SWEEP = ("rm", NAME), ("rm", f"{NAME}@v1", "--force"), ("rm", "--orphans", "--force")
LOOKS = (("health", "--verify"), ("show", NAME), ("list", "--all", "--health"))
COMMANDS = (PULL, FORCE, COMING_UP, ("pull", NAME, "--include", "*.json"), REMOVE, REVISION, SWEEP, *LOOKS)
DAYS = {"bringing": (COMING_UP, PULL, FORCE, REVISION, SWEEP, REMOVE), "removing": (SWEEP, REVISION, *LOOKS, REMOVE)}


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def brought(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cache with two revisions of a model, as a template."""
    root = tmp_path_factory.mktemp("brought")
    with pytest.MonkeyPatch.context() as patched, sandbox_at(root, hub, patched) as sandbox:
        listed(hub)
        for revision in ("v1", "main"):
            assert sandbox.run("pull", f"{NAME}@{revision}").code == 0
        return sandbox.machine.hub.rename(tmp_path_factory.mktemp("kept") / "hub")


def listed(hub: FakeHub) -> dict[str, str]:
    """Add three revisions to the Hub, and return their commits."""
    files = {"v1": OLD, "main": MAIN, "new": NEW}
    return {revision: hub.add(NAME, held, revision=revision) for revision, held in files.items()}


OUTSIDE, OTHER_REPO = "outside", "hub/models--good--model"


@pytest.fixture(params=[OUTSIDE, OTHER_REPO])
def site(
    hub: FakeHub, brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Site]:
    with sandbox_at(tmp_path, hub, monkeypatch) as sandbox:
        shutil.copytree(brought / REPO, sandbox.repo, symlinks=True)
        (sandbox.repo / "blobs" / ORPHAN).write_bytes(b"left over")
        place = tmp_path / request.param / "planted"
        place.mkdir()
        yield Site(sandbox, listed(hub), place)


def used(site: Site, *commands: tuple[str, ...]) -> None:
    """Run commands; each succeeds or ends with an error of the contract, and changes only its repo."""
    for command in commands:
        with site.sandbox.unchanged(site.repo, site.hub / ".mlxk-trash"):
            outcome = site.sandbox.run(*command)
        assert follows_contract(outcome), (command, outcome)
        assert SECRET.decode() not in outcome.out + outcome.err, command


@pytest.mark.parametrize(("site", "day"), [(OUTSIDE, "bringing"), (OTHER_REPO, "removing")], indirect=["site"])
@pytest.mark.parametrize("plant", PLANTS)
def test_no_sequence_of_commands_follows_planted_links(site: Site, plant: str, day: str) -> None:
    PLANTS[plant](site)
    used(site, *DAYS[day])


@pytest.mark.stress(part="planted-links")
@pytest.mark.parametrize("site", [OUTSIDE], indirect=True)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("plant", PLANTS)
def test_no_command_follows_planted_links(site: Site, plant: str, command: tuple[str, ...]) -> None:
    PLANTS[plant](site)
    used(site, command)


def test_without_planted_links_all_commands_work(site: Site) -> None:
    for command in DAYS["bringing"]:
        assert site.sandbox.run(*command).code == 0, command
    assert not site.repo.exists()


def test_removing_a_link_in_the_workspace_home_keeps_its_target(site: Site) -> None:
    home = site.sandbox.machine.home
    (home / "linked").symlink_to(site.sandbox.outside)
    (home / "mine").mkdir()
    (home / "mine/config.json").write_bytes(b"{}")
    (home / "mine/outside").symlink_to(site.sandbox.outside)
    os.link(site.sandbox.outside / "config.json", home / "mine/tokenizer.json")
    with site.sandbox.unchanged(home):
        for name in ("linked", "mine"):
            assert site.sandbox.run("rm", name, "--force").code == 0
    assert os.listdir(home) == []
