"""``pull`` killed at any moment: listings stay correct, and the next pull completes the model and cleans up.

``make stress`` runs the full numbers with new seeds, and stores its seeds and counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import attrs
import pytest

import mlxknife
from mlxknife.domain.removal.values import Leftovers
from tests.builder import chat_files, json_bytes, raw_safetensors, sharded_files
from tests.e2e.processes import Machine
from tests.e2e.sabotage import Disturbed, Stage
from tests.fake_hub import FakeHub, Slow
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SEED = 20_261_121
MIB = 1 << 20
MODEL = "org/model"
PULL = ("pull", MODEL, "--json")
CASES = ("new", "second revision", "repair")
MAX_STEPS = 400
BUSY_SECONDS = 120
"""How long a pull may take on a machine with much other work."""


def shard(name: str, size: int, seed: str) -> bytes:
    """Return one tensor of random bytes."""
    header = json_bytes({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return raw_safetensors(header, random.Random(f"{SEED}/{seed}").randbytes(size))


def large(salt: str) -> dict[str, bytes]:
    """Return eight files of 17 MiB; the salt changes all of them except the third shard."""
    files = sharded_files() | {"config.json": chat_files(salt=salt)["config.json"], "extra/notes.txt": b"n" * 300_000}
    shards = [name for name in sorted(files) if name.endswith(".safetensors")]
    for number, (name, size) in enumerate(zip(shards, (7 * MIB, 6 * MIB, 4 * MIB), strict=True)):
        files[name] = shard(f"layer{number}", size, f"{number}" if number == 2 else f"{salt}{number}")
    return files


def small(salt: str) -> dict[str, bytes]:
    """Return five files; the salt changes the weights and two others."""
    files = chat_files(salt=salt) | {"extra/notes.txt": salt.encode()}
    del files["special_tokens_map.json"]
    return files | {"model.safetensors": shard("model.weight", 5000, salt)}


@attrs.frozen
class Scene:
    """A pull with work to do, which can be reset and repeated."""

    machine: Machine
    hub: FakeHub
    stage: Stage
    before: Path
    """The cache before the pull."""
    done: dict[str, str]
    """The cache after an undisturbed pull."""
    needed: int
    """The bytes that an undisturbed pull fetches."""
    kept: tuple[str, ...]
    """The models that must be healthy at every moment."""

    def set_up(self) -> None:
        for path in self.machine.hub.iterdir():  # the cache itself may be a mount point
            shutil.rmtree(path)
        shutil.copytree(self.before, self.machine.hub, symlinks=True, dirs_exist_ok=True)
        self.hub.heal()
        self.hub.reset()

    def complete(self) -> None:
        """Pull again, and check that the model is complete and verified."""
        ran = self.stage.run(*PULL)
        assert ran.outcome.code == 0, ran
        check_truth(attrs.evolve(self, kept=(*self.kept, MODEL)))

    def finish(self) -> None:
        """Pull again, and compare the cache with that of an undisturbed pull."""
        self.complete()
        assert tree(self.machine.hub) == self.done
        assert self.leftovers() == Leftovers((), ())

    @property
    def sent(self) -> int:
        return content_bytes(self.hub)

    def leftovers(self) -> Leftovers:
        return opened(self.machine).remover.leftovers()


@contextmanager
def scene(case: str, make: object, machine: Machine) -> Iterator[Scene]:
    assert callable(make)
    machine.cache.model("org/other", chat_files(salt="other"))
    before = machine.root / "before"
    kept: tuple[str, ...] = ("org/other",)
    with FakeHub(send_buffer=16 << 10) as hub, Stage(environment(machine, hub), machine.root / "stage") as stage:
        commit = hub.add(MODEL, make("old"))
        if case != "new":
            assert stage.run(*PULL).outcome.code == 0
        if case == "second revision":
            kept = (*kept, f"{MODEL}@{commit}")
            hub.add(MODEL, make("new"))
        if case == "repair":
            damage(machine.hub / "models--org--model" / "snapshots" / commit)
        shutil.copytree(machine.hub, before, symlinks=True)
        hub.reset()
        assert stage.run(*PULL).outcome.code == 0
        found = Scene(machine, hub, stage, before, tree(machine.hub), content_bytes(hub), kept)
        check_truth(found)
        yield found


def environment(machine: Machine, hub: FakeHub) -> dict[str, str]:
    return machine.environment(HF_ENDPOINT=hub.endpoint, PYTHONDONTWRITEBYTECODE="1")


def damage(snapshot: Path) -> None:
    """Truncate one file, flip a byte of another, remove a third, and replace a link by a file."""
    weights = sorted(snapshot.glob("*.safetensors"))
    data = bytearray(weights[0].read_bytes())
    data[len(data) // 2] ^= 1
    weights[0].resolve().write_bytes(data)
    os.truncate(weights[-1], weights[-1].stat().st_size // 2)
    (snapshot / "tokenizer.json").resolve().unlink()
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text("not yet")


def tree(folder: Path) -> dict[str, str]:
    """Return every path of a cache with its content, without locks, and without the times in stamps."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/", maxsplit=1)[0] == ".locks":
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.name == "stamps.json":
            stamps = json.loads(path.read_bytes())
            found[name] = str({place: stamp["digest"] for place, stamp in sorted(stamps.items())})
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def content_bytes(hub: FakeHub) -> int:
    """Return the bytes of file content that the Hub sent."""
    seen = hub.requests("GET", f"/{MODEL}/")
    return sum(one.bytes_sent for one in seen if one.status in (200, 206) and not one.path.startswith("/api/"))


def opened(machine: Machine) -> mlxknife.App:
    surroundings = {"XDG_CONFIG_HOME": str(machine.root)}
    return mlxknife.open_app(hub_cache=machine.hub, workspace_home=machine.home, environment=surroundings)


def check_truth(scene: Scene) -> None:
    """Compare the integrity of every revision with its real bytes."""
    app = opened(scene.machine)
    for name in scene.kept:
        (verdict,) = app.health.check(name, verify=True).entries
        assert verdict.integrity is mlxknife.Integrity.VERIFIED, name
    listed = {model.name: model for model in app.catalog.list()}
    assert {name.partition("@")[0] for name in scene.kept} <= listed.keys()
    commits = scene.hub.repo(MODEL).commits
    snapshots = scene.machine.hub / "models--org--model" / "snapshots"
    for commit in os.listdir(snapshots) if snapshots.is_dir() else ():
        (verdict,) = app.health.check(f"{MODEL}@{commit}", verify=True).entries
        files = {name: file.sha256 for name, file in commits[commit].files.items()}
        is_right = all(digest(snapshots / commit / name) == sha256 for name, sha256 in files.items())
        assert verdict.integrity.healthy is is_right, verdict
    if MODEL in listed and listed[MODEL].integrity.healthy:
        commit = str(listed[MODEL].commit)
        sizes = {name: file.size for name, file in commits[commit].files.items()}
        assert all((snapshots / commit / name).stat().st_size == size for name, size in sizes.items())


def digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


@attrs.frozen
class Kill:
    """A kill of a pull: whether the pull was still running, and the bytes that only the system had received."""

    was_running: bool
    unread: int


def kill_at_random(found: Scene, rng: random.Random, most: int) -> Kill:
    """Kill a pull after the Hub sent a random number of bytes."""
    found.hub.fail(Slow(rng.uniform(8, 24) * MIB), "*.safetensors")
    moment = found.sent + rng.randrange(most)
    process = found.stage.begin(Disturbed(PULL))
    found.hub.wait_until(lambda: found.sent > moment, BUSY_SECONDS)
    os.kill(process, signal.SIGSTOP)  # on a busy machine the Hub is far ahead of it
    sent, unread = found.sent, unread_bytes(found.hub)
    os.kill(process, signal.SIGKILL)
    ran = found.stage.end(process)
    assert ran.was_killed or ran.outcome.code == 0
    found.hub.heal()
    return Kill(ran.was_killed, found.sent - sent + unread)


def unread_bytes(hub: FakeHub) -> int:
    """Return the bytes that wait in the system for the clients of a Hub; 0 where the system does not show them."""
    if not os.path.exists("/proc/net/tcp"):
        return 0
    port = f":{int(hub.endpoint.rpartition(':')[2]):04X}"
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, peer, _, queues, *_ = line.split()
        not_acknowledged, not_read = (int(queue, 16) for queue in queues.split(":"))
        total += not_acknowledged * local.endswith(port) + not_read * peer.endswith(port)
    return total


def kill_repeatedly(case: str, seed: int, machine: Machine) -> Iterator[tuple[Kill, float]]:
    """Kill pulls; yield each kill, and the share of bytes that was fetched twice.

    A byte that the pull had not read from its socket when it was killed does not count as fetched twice.
    """
    with scene(case, large, machine) as found:
        for number in count():
            rng = random.Random(f"{seed}/{case}/{number}")
            found.set_up()
            kill = kill_at_random(found, rng, found.needed)
            check_truth(found)
            found.finish()
            assert found.sent >= found.needed
            twice = (found.sent - kill.unread) / found.needed - 1
            assert twice <= 0.05, (number, kill)
            yield kill, twice


def kill_before_every_step(case: str, machine: Machine, *, only_published: bool) -> int:
    """Kill pulls before each of their changes of the disk, or of the published ones; return how many."""
    with scene(case, small, machine) as found:
        found.set_up()
        changes = found.stage.run(*PULL, killed_before=MAX_STEPS).calls
        begin = next(number for number, change in enumerate(changes) if change.endswith("publish.lock"))
        for step in range(begin if only_published else 0, MAX_STEPS):
            found.set_up()
            ran = found.stage.run(*PULL, killed_before=step)
            assert ran.was_killed or ran.outcome.code == 0, ran
            check_truth(found)
            found.finish()
            if not ran.was_killed:
                return step - (begin if only_published else 0)
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("case", CASES)
def test_killed_at_random_moments(case: str, machine: Machine) -> None:
    for kill, _ in islice(kill_repeatedly(case, SEED, machine), 4):
        assert kill.was_running


@pytest.mark.stress(part="pull-kills")
@pytest.mark.parametrize(("case", "kills"), list(zip(CASES, (70, 65, 65), strict=True)))
def test_killed_at_two_hundred_moments(case: str, kills: int, machine: Machine, scorecard: Scorecard) -> None:
    killed, worst = 0, 0.0
    for number, (kill, twice) in enumerate(kill_repeatedly(case, scorecard.seed, machine), 1):
        killed, worst = killed + kill.was_running, max(worst, twice)
        figures = {"fetched twice at most": f"{worst:.2%}"}
        scorecard.record(counts={"killed": killed, "ended before": number - killed}, figures=figures)
        if killed == kills:
            break
        assert number < 2 * kills, "more than half of the pulls ended before they were killed"


def test_killed_again_and_again(machine: Machine) -> None:
    rng = random.Random(SEED)
    with scene("new", large, machine) as found:
        found.set_up()
        kills = list[Kill]()
        while len(kills) < 5 and (kill := kill_at_random(found, rng, found.needed // 8)).was_running:
            kills.append(kill)
            check_truth(found)
        found.finish()
        sent = found.sent - sum(kill.unread for kill in kills)
        assert found.needed <= found.sent
        assert sent <= found.needed * (1 + 0.05 * len(kills))
    assert len(kills) == 5


def test_killed_during_a_forced_pull(machine: Machine) -> None:
    """During a forced pull a complete model has partial files. By the contract it is incomplete until the next pull."""
    with scene("repair", large, machine) as found:
        found.finish()
        found.hub.fail(Slow(8 * MIB), "*.safetensors")
        moment = found.sent + 2 * MIB
        process = found.stage.begin(Disturbed((*PULL, "--force")))
        found.hub.wait_until(lambda: found.sent > moment, BUSY_SECONDS)
        os.kill(process, signal.SIGKILL)
        assert found.stage.end(process).was_killed
        blobs = found.machine.hub / "models--org--model" / "blobs"
        (blobs / f"{next(blobs.glob('*.incomplete')).name.partition('.')[0]}.0a1b2c3d.incomplete").touch()
        found.hub.heal()
        found.hub.reset()
        found.finish()
        assert found.sent == 0


def test_killed_before_every_step_of_publishing(machine: Machine) -> None:
    assert kill_before_every_step("second revision", machine, only_published=True) > 20


@pytest.mark.stress(part="pull-kills")
@pytest.mark.parametrize("case", CASES)
def test_killed_before_every_step(case: str, machine: Machine, scorecard: Scorecard) -> None:
    steps = kill_before_every_step(case, machine, only_published=False)
    scorecard.record(counts={"killed": steps})
    assert steps > 40
