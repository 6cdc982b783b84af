"""``rm`` killed before each change of the disk: the rest is listed or reported, and the next command finishes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

import mlxknife
from tests.builder import chat_files, commit_of, sharded_files
from tests.e2e.processes import Machine
from tests.e2e.sabotage import Stage

_MOST_STEPS = 200


@pytest.fixture
def stage(machine: Machine) -> Iterator[Stage]:
    with Stage(machine.environment(), machine.root / "stage") as opened_stage:
        yield opened_stage


def killed_before(stage: Stage, step: int, *words: str) -> bool:
    """Run ``rm`` and kill it before a change of the disk; return whether it was killed."""
    ran = stage.run("rm", *words, killed_before=step)
    assert ran.was_killed or ran.outcome.code == 0, ran
    return ran.was_killed


def bytes_of_blobs(machine: Machine) -> int:
    files = (path for path in machine.hub.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.parent.name == "blobs" and ".locks" not in path.parts)


def opened(machine: Machine) -> mlxknife.App:
    surroundings = {"XDG_CONFIG_HOME": str(machine.root)}
    return mlxknife.open_app(hub_cache=machine.hub, workspace_home=machine.home, environment=surroundings)


def listed_and_trash(machine: Machine) -> tuple[list[str], list[str]]:
    """Return the listed models and the reported trash."""
    app = opened(machine)
    return [model.name for model in app.catalog.list()], [item.label for item in app.removal_store.trash()]


def test_a_whole_repo(machine: Machine, stage: Stage) -> None:
    for steps in range(_MOST_STEPS):
        machine.cache.model("org/model", sharded_files())
        was_killed = killed_before(stage, steps, "org/model")
        listed, trash = listed_and_trash(machine)
        if bytes_of_blobs(machine):
            assert listed == ["org/model"] or trash == ["org/model"], steps
        if not was_killed:
            assert (listed, trash, bytes_of_blobs(machine)) == ([], [], 0)
            break
        again = stage.run("rm", *(("org/model",) if listed else ("--orphans", "--force")))
        assert again.outcome.code == 0, (steps, again)
        assert listed_and_trash(machine) == ([], [])
        assert bytes_of_blobs(machine) == 0, steps
        assert not (machine.hub / ".mlxk-trash").exists()
    else:
        pytest.fail("it never came to its end")
    assert steps > 10


def test_one_of_two_revisions(machine: Machine, stage: Stage) -> None:
    new_files = sharded_files() | {"config.json": chat_files(salt="new")["config.json"]}
    for steps in range(_MOST_STEPS):
        machine.cache.model("org/model", sharded_files(), commit=commit_of("old"), ref="v1")
        new = machine.cache.model("org/model", new_files, commit=commit_of("new"))
        was_killed = killed_before(stage, steps, f"org/model@{commit_of('old')}")
        listed, trash = listed_and_trash(machine)
        assert listed == ["org/model"]
        assert trash in ([], [f"org/model@{commit_of('old')[:12]}"]), steps
        (verdict,) = opened(machine).health.check("org/model", verify=True).entries
        assert verdict.integrity is mlxknife.Integrity.VERIFIED, steps
        if not was_killed:
            break
        still_there = (new.repo / "snapshots" / commit_of("old")).exists()
        again = (f"org/model@{commit_of('old')}",) if still_there else ("--orphans", "--force")
        assert stage.run("rm", *again).outcome.code == 0, steps
        assert listed_and_trash(machine) == (["org/model"], [])
        leftovers = opened(machine).remover.leftovers()
        assert (leftovers.orphans, leftovers.trash) == ((), ()), steps
        assert bytes_of_blobs(machine) == sum(map(len, new_files.values()))
        shutil.rmtree(machine.hub)
    else:
        pytest.fail("it never came to its end")
    assert steps > 10
