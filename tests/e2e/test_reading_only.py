"""Commands that read change nothing: neither in an intact or damaged cache nor in the home directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.adapters.damages import DAMAGES
from tests.builder import Layout, embedding_files, gguf_files, sharded_files
from tests.e2e.processes import Machine, Outcome

COMMANDS = (
    ["list"],
    ["list", "--all", "--verbose", "--health"],
    ["list", "--json"],
    ["health"],
    ["health", "--json", "--strict"],
    ["health", "org/shared@main"],
    ["show", "org/shared"],
    ["show", "org/shared", "--files", "--config", "--json"],
    ["show", "mine"],
    ["show", "./workspaces/mine", "--files"],
    ["show", "nothing"],
    ["version"],
    ["--version"],
    ["nonsense"],
)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return the metadata and content of every path below a folder, without access times."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (".", *folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            what: object = None
            if stat.S_ISLNK(status.st_mode):
                what = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                what = path.read_bytes()
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[str(path)] = (status.st_mode, status.st_size, status.st_ino, status.st_nlink, *times, what)
    return found


def build_cache(machine: Machine) -> None:
    for layout in Layout:
        machine.cache.model(f"org/{layout.name.lower()}", sharded_files(), layout=layout)
    machine.cache.model("org/gguf", gguf_files())
    machine.cache.model("org/sentences", embedding_files())
    machine.workspace("mine")
    for number, damage in enumerate(DAMAGES):
        if "file for" not in damage.label and damage.label != "nothing downloaded":
            damage.harm(machine.cache.model(f"sick/model-{number}", damage.files()))


def test_no_command_changes_anything_on_the_disk(machine: Machine) -> None:
    build_cache(machine)
    machine.environment()  # creates the home directory
    before = tree(machine.root)
    outcomes = [machine.run(*words) for words in COMMANDS]
    assert tree(machine.root) == before
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1]


def test_a_read_only_cache_can_be_listed(machine: Machine) -> None:
    build_cache(machine)
    folders = [
        machine.root / "hub",
        *(path for path in machine.hub.rglob("*") if path.is_dir() and not path.is_symlink()),
    ]
    before = machine.run("list", "--json")
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert machine.run("list", "--json") == before
        assert machine.run("health", "--json").code == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_every_damage_at_once_is_listed_by_the_program(machine: Machine) -> None:
    machine.cache.model("good/chat")
    expected = {"good/chat"}
    for number, damage in enumerate(DAMAGES):
        name = f"sick/model-{number:02d}"
        damage.harm(machine.cache.model(name, damage.files()))
        aside = machine.hub / "moved-aside"
        if aside.exists():
            aside.rename(machine.root / f"moved-aside-{number}")
        expected.add(name)
    outcome = machine.run("list", "--json")
    assert (outcome.code, set(outcome.names())) == (0, expected)
    unhealthy = machine.run("health", "--json").data()["unhealthy"]
    assert isinstance(unhealthy, list)
    assert {entry["name"]: entry["integrity"] for entry in unhealthy} == {
        f"sick/model-{number:02d}": damage.integrity.value for number, damage in enumerate(DAMAGES)
    }
    check_text(machine.run("list", "--all", "--health"), expected)


def check_text(outcome: Outcome, names: set[str]) -> None:
    rows = [line.split(" | ") for line in outcome.out.splitlines() if " | " in line][1:]
    assert (outcome.code, outcome.err) == (0, "")
    assert {row[0].strip() for row in rows} == names
    assert {row[-1] for row in rows if row[0].startswith("sick/")} == {"unhealthy"}
