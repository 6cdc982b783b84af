"""``rm`` killed before each change of the disk: the rest is listed or reported, and the next command finishes.

The stress form kills it with strace before each system call that concerns the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

import mlxknife
from tests.builder import chat_files, commit_of, sharded_files
from tests.e2e.processes import Machine
from tests.e2e.sabotage import Disturbed, Ran, Stage
from tests.scorecard import Scorecard

_MOST_STEPS = 200
_OLD, _NEW = commit_of("old"), commit_of("new")
_NEW_FILES = sharded_files() | {"config.json": chat_files(salt="new")["config.json"]}


@pytest.fixture
def stage(machine: Machine) -> Iterator[Stage]:
    with Stage(machine.environment(), machine.root / "stage") as opened_stage:
        yield opened_stage


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


def make_repo(machine: Machine) -> None:
    machine.cache.model("org/model", sharded_files())


def finish_repo(machine: Machine, stage: Stage, *, was_killed: bool) -> None:
    """Check what a killed ``rm`` of a repo left, and remove the rest."""
    listed, trash = listed_and_trash(machine)
    if bytes_of_blobs(machine):
        assert listed == ["org/model"] or trash == ["org/model"]
    if not was_killed:
        assert (listed, trash, bytes_of_blobs(machine)) == ([], [], 0)
        return
    again = stage.run("rm", *(("org/model",) if listed else ("--orphans", "--force")))
    assert again.outcome.code == 0, again
    assert listed_and_trash(machine) == ([], [])
    assert bytes_of_blobs(machine) == 0
    assert not (machine.hub / ".mlxk-trash").exists()


def make_revisions(machine: Machine) -> None:
    machine.cache.model("org/model", sharded_files(), commit=_OLD, ref="v1")
    machine.cache.model("org/model", _NEW_FILES, commit=_NEW)


def finish_revision(machine: Machine, stage: Stage, *, was_killed: bool) -> None:
    """Check what a killed ``rm`` of a revision left, and remove the rest of that revision."""
    listed, trash = listed_and_trash(machine)
    assert listed == ["org/model"]
    assert trash in ([], [f"org/model@{_OLD[:12]}"])
    (verdict,) = opened(machine).health.check("org/model", verify=True).entries
    assert verdict.integrity is mlxknife.Integrity.VERIFIED
    if not was_killed:
        return
    still_there = (machine.hub / "models--org--model" / "snapshots" / _OLD).exists()
    again = (f"org/model@{_OLD}",) if still_there else ("--orphans", "--force")
    assert stage.run("rm", *again).outcome.code == 0
    assert listed_and_trash(machine) == (["org/model"], [])
    leftovers = opened(machine).remover.leftovers()
    assert (leftovers.orphans, leftovers.trash) == ((), ())
    assert bytes_of_blobs(machine) == sum(map(len, _NEW_FILES.values()))


@attrs.frozen
class Removal:
    """A cache, the argument of ``rm``, and the check of what a kill left."""

    make: Callable[[Machine], None]
    spec: str
    finish: Callable[..., None]


@contextmanager
def killed_at(place: str) -> Iterator[None]:
    """Add the place of the kill to a failure."""
    try:
        yield
    except AssertionError as exc:
        exc.add_note(f"killed before {place}")
        raise


REMOVALS = pytest.mark.parametrize(
    "removal",
    [Removal(make_repo, "org/model", finish_repo), Removal(make_revisions, f"org/model@{_OLD}", finish_revision)],
    ids=["a whole repo", "one of two revisions"],
)


@REMOVALS
def test_killed_before_each_change(machine: Machine, stage: Stage, removal: Removal) -> None:
    for step in range(_MOST_STEPS):
        removal.make(machine)
        ran = stage.run("rm", removal.spec, killed_before=step)
        assert ran.was_killed or ran.outcome.code == 0, (step, ran)
        with killed_at(f"change {step}"):
            removal.finish(machine, stage, was_killed=ran.was_killed)
        if not ran.was_killed:
            break
        shutil.rmtree(machine.hub)
    else:
        pytest.fail("it never came to its end")
    assert step > 10


@attrs.frozen
class Call:
    """A system call: its name, how often a call of that name was made before, and its text in the log of strace."""

    name: str
    before: int
    text: str


def traced(machine: Machine, stage: Stage, spec: str, *words: str) -> tuple[Ran, list[Call]]:
    """Run ``rm`` under strace, which attaches before its first line; return the outcome and its calls on files."""
    process, log = stage.begin(Disturbed(("rm", spec), stopped=True)), machine.root / "strace.log"
    while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    command = ["strace", "-y", "-e", "trace=%file,%desc", *words, "-o", str(log), "-p", str(process)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        attached = strace.stderr.readline()
        os.kill(process, signal.SIGCONT if "attached" in attached else signal.SIGKILL)
        ran = stage.end(process)
    assert "attached" in attached
    seen: dict[str, int] = {}
    calls = list[Call]()
    for found in re.finditer(r"^(\w+)\((.*)", log.read_text(errors="replace"), re.MULTILINE):
        calls.append(Call(found[1], seen.get(found[1], 0), found[2]))
        seen[found[1]] = seen.get(found[1], 0) + 1
    return ran, calls


@pytest.mark.stress(part="rm-kills")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; the other test kills without it")
@REMOVALS
def test_killed_before_each_system_call(machine: Machine, stage: Stage, removal: Removal, scorecard: Scorecard) -> None:
    removal.make(machine)
    ran, calls = traced(machine, stage, removal.spec)
    assert ran.outcome.code == 0
    concerned = [call for call in calls if str(machine.hub) in call.text]
    names = set[str]()
    for number, call in enumerate(concerned, 1):
        shutil.rmtree(machine.hub, ignore_errors=True)
        removal.make(machine)
        kill = f"inject={call.name}:signal=KILL:when={call.before + 1}"
        ran, made = traced(machine, stage, removal.spec, "-e", kill)
        assert ran.was_killed, call
        assert (made[-1].name, made[-1].before) == (call.name, call.before), "killed before another call"
        assert str(machine.hub) in made[-1].text, made[-1]
        with killed_at(f"{call.name}({call.text}"):
            removal.finish(machine, stage, was_killed=True)
        names.add(call.name)
        scorecard.record(counts={"killed": number, "kinds of system calls": len(names)})
    assert {"rename", "unlink", "rmdir", "mkdir", "flock", "fsync"} <= names
