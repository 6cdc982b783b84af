"""``rm`` killed before each of its steps: what is left is listed or reported, and the next command finishes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

import mlxknife
from tests.builder import chat_files, commit_of, sharded_files
from tests.e2e.processes import Machine

_MOST_STEPS = 200
_PROGRAM = """
import os, signal, sys
steps_left = int(sys.argv.pop(1))
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
def watch(event, arguments):
    global steps_left
    if event in CHANGES or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa")):
        if steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps_left -= 1
from mlxknife.__main__ import main
sys.addaudithook(watch)
sys.exit(main())
"""


def killed_after(machine: Machine, steps: int, *words: str) -> bool:
    """Run ``rm`` until just before a change of the disk; say whether it was killed there."""
    command = [sys.executable, "-c", _PROGRAM, str(steps), "rm", *words]
    done = subprocess.run(command, env=machine.environment(), capture_output=True, check=False, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def bytes_of_blobs(machine: Machine) -> int:
    files = (path for path in machine.hub.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.parent.name == "blobs" and ".locks" not in path.parts)


def opened(machine: Machine) -> mlxknife.App:
    surroundings = {"XDG_CONFIG_HOME": str(machine.root)}
    return mlxknife.open_app(hub_cache=machine.hub, workspace_home=machine.home, environment=surroundings)


def told(machine: Machine) -> tuple[list[str], list[str]]:
    """Return what is listed and what is reported as trash."""
    app = opened(machine)
    return [model.name for model in app.catalog.list()], [item.label for item in app.disposal.trash()]


def test_a_whole_repo(machine: Machine) -> None:
    for steps in range(_MOST_STEPS):
        machine.cache.model("org/model", sharded_files())
        was_killed = killed_after(machine, steps, "org/model")
        listed, trash = told(machine)
        if bytes_of_blobs(machine):
            assert listed == ["org/model"] or trash == ["org/model"], steps
        if not was_killed:
            assert (listed, trash, bytes_of_blobs(machine)) == ([], [], 0)
            break
        again = (
            machine.run("rm", "org/model", "--json") if listed else machine.run("rm", "--orphans", "--force", "--json")
        )
        assert again.code == 0, (steps, again)
        assert told(machine) == ([], [])
        assert bytes_of_blobs(machine) == 0, steps
        assert not (machine.hub / ".mlxk-trash").exists()
    else:
        pytest.fail("it never came to its end")
    assert steps > 5


def test_one_of_two_revisions(machine: Machine) -> None:
    new_files = sharded_files() | {"config.json": chat_files(salt="new")["config.json"]}
    for steps in range(_MOST_STEPS):
        machine.cache.model("org/model", sharded_files(), commit=commit_of("old"), ref="v1")
        new = machine.cache.model("org/model", new_files, commit=commit_of("new"))
        was_killed = killed_after(machine, steps, f"org/model@{commit_of('old')}")
        listed, trash = told(machine)
        assert listed == ["org/model"]
        assert trash in ([], [f"org/model@{commit_of('old')[:12]}"]), steps
        (verdict,) = opened(machine).health.check("org/model", verify=True).entries
        assert verdict.integrity is mlxknife.Integrity.VERIFIED, steps
        if not was_killed:
            break
        still_there = (new.repo / "snapshots" / commit_of("old")).exists()
        again = (f"org/model@{commit_of('old')}",) if still_there else ("--orphans", "--force")
        assert machine.run("rm", *again).code == 0, steps
        assert told(machine) == (["org/model"], [])
        leftovers = opened(machine).remover.leftovers()
        assert (leftovers.orphans, leftovers.trash) == ((), ()), steps
        assert bytes_of_blobs(machine) == sum(map(len, new_files.values()))
        shutil.rmtree(machine.hub)
    else:
        pytest.fail("it never came to its end")
    assert steps > 5
