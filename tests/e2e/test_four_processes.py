"""Four concurrent processes on one repo: no snapshot that was not removed loses a byte.

The programs are real processes with their own locks, forked from one that has everything imported.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.builder import chat_files, safetensors
from tests.e2e.processes import BIN, Machine
from tests.fake_hub import FakeHub, Slow
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

NAME = "org/model"
SHARED = chat_files(card=True) | {"model.safetensors": safetensors({"shared": ("F16", (20_000,))})}
REVISIONS = {
    revision: SHARED | {"config.json": chat_files(salt=revision)["config.json"]}
    | {f"{revision}.safetensors": safetensors({revision: ("F16", (10_000,))})}
    for revision in ("main", "side")
}  # fmt: skip

_FORK_SERVER = """
import json, os, signal, sys, traceback
from huggingface_hub import snapshot_download
from mlxknife.__main__ import main
import mlxknife.wiring.app, mlxknife.cli.commands.pull, mlxknife.cli.commands.rm, mlxknife.cli.commands.health
import mlxknife.adapters.hub.hub, mlxknife.adapters.hfcache.download_store
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
answers = os.dup(1)
os.write(answers, b"ready\\n")
for line in sys.stdin:
    number, folder, words = json.loads(line)
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(f"{folder}/{number}.txt", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["HF_HUB_CACHE"] = f"{folder}/hub"
    code = 99
    try:
        if words[0] == "hf":
            snapshot_download(words[1], revision=words[2], cache_dir=f"{folder}/hub")
            code = 0
        else:
            sys.argv = ["mlxk", *words]
            code = main()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os.write(answers, f"{number} {code}\\n".encode())
    os._exit(0)
"""
FAILED = 99
HANGS = 120
"""Seconds after which a program counts as hanging, also on a machine with much other work."""


@attrs.define
class ForkServer:
    """A fork server for programs."""

    process: subprocess.Popen[bytes]
    codes: dict[int, int] = attrs.field(factory=dict)
    numbers: Iterator[int] = attrs.field(factory=count)
    _rest: bytes = b""

    def start(self, folder: Path, words: tuple[str, ...]) -> int:
        number = next(self.numbers)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([number, str(folder), words]).encode() + b"\n")
        self.process.stdin.flush()
        return number

    def code(self, number: int) -> int:
        """Wait for a program and return its exit code."""
        assert self.process.stdout is not None
        while number not in self.codes:
            assert select.select([self.process.stdout], [], [], HANGS)[0], "a process hangs"
            *lines, self._rest = (self._rest + os.read(self.process.stdout.fileno(), 4096)).split(b"\n")
            self.codes |= {int(line.split()[0]): int(line.split()[1]) for line in lines}
        return self.codes.pop(number)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        for revision, files in REVISIONS.items():
            hub.add(NAME, files, revision=revision)
        yield hub


@pytest.fixture(scope="module")
def fork_server(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    settings_of_hf = dict.fromkeys(
        ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"), "1"
    )
    machine = Machine(tmp_path_factory.mktemp("fork_server"))
    surroundings = machine.environment(HF_ENDPOINT=hub.endpoint, HF_HUB_DISABLE_UPDATE_CHECK="1", **settings_of_hf)
    command = [str(BIN / "python"), "-c", _FORK_SERVER]
    with subprocess.Popen(command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield ForkServer(process)


@attrs.frozen
class Started:
    """A running program."""

    number: int
    kind: str
    revision: str


def words(kind: str, revision: str) -> tuple[str, ...]:
    return {
        "pull": ("pull", f"{NAME}@{revision}", "--debug"),
        "force": ("pull", f"{NAME}@{revision}", "--force"),
        "hf": ("hf", NAME, revision),
        "rm": ("rm", f"{NAME}@{revision}", "--force", "--debug"),
        "orphans": ("rm", "--orphans", "--force", "--debug"),
        "verify": ("health", "--verify"),
    }[kind]


DOWNLOADS = ("pull", "force", "hf")

ENDS = {"pull": (0,), "force": (0,), "hf": (0,), "rm": (0, 1), "orphans": (0,), "verify": (0, 1)}
"""The exit codes that concurrent programs allow: a removal may find no model, or a lock."""
KINDS = tuple(ENDS)


@attrs.define
class SharedCache:
    """One cache, and the revisions that must be in it after the programs that ended."""

    folder: Path
    hub: FakeHub
    fork_server: ForkServer
    running: list[Started] = attrs.field(factory=list)
    whole: set[str] = attrs.field(factory=set)
    """The revisions that were pulled and not removed since."""
    seen: dict[str, int] = attrs.field(factory=dict)
    """The number of runs by program and exit code."""

    @property
    def cache(self) -> Path:
        return self.folder / "hub"

    @property
    def repo(self) -> Path:
        return self.cache / f"models--{NAME.replace('/', '--')}"

    def start(self, kind: str, revision: str) -> None:
        number = self.fork_server.start(self.folder, words(kind, revision))
        self.running.append(Started(number, kind, revision))

    def join(self) -> None:
        """Wait for all programs, and check that nothing is lost."""
        ended = [(one, self.fork_server.code(one.number)) for one in self.running]
        self.running = []
        for one, code in ended:
            key = f"{one.kind} {code}"
            self.seen[key] = self.seen.get(key, 0) + 1
            self._check_end(one, code, ended)
        removed = {one.revision for one, code in ended if one.kind == "rm" and code in (0, 3)}
        brought = {one.revision for one, code in ended if one.kind in DOWNLOADS and code == 0}
        self.whole = (self.whole | brought) - removed
        self.check(self._said(ended))

    def check(self, output: str = "") -> None:
        """Check that every required revision is complete, and that every link leads to the right bytes."""
        for revision, files in REVISIONS.items():
            snapshot = self.repo / "snapshots" / self.hub.repo(NAME).branches[revision]
            if revision in self.whole:
                missing = [name for name in files if not (snapshot / name).is_symlink()]
                assert not missing, f"{revision}: {missing} {output}"
            for path in snapshot.glob("*"):
                assert path.exists(), f"{revision}: {path.name} leads nowhere {output}"
                assert path.read_bytes() == files[path.name], f"{revision}: {path.name} {output}"

    def sweep(self) -> None:
        """Remove the orphans while no program runs, and check that none is left."""
        assert not self.running
        self.start("orphans", "main")
        self.join()
        assert not (self.cache / ".mlxk-trash").exists()
        needed = {path.readlink().name for path in self.repo.glob("snapshots/*/*")}
        assert {path.name for path in self.repo.glob("blobs/*")} <= needed
        self.start("verify", "main")
        self.join()

    def _check_end(self, one: Started, code: int, ended: list[tuple[Started, int]]) -> None:
        output = (self.folder / f"{one.number}.txt").read_text()
        expected = ENDS[one.kind]
        if one.kind == "hf" and any(other.kind == "rm" for other, _ in ended):
            expected = (0, FAILED)  # hf ignores our locks
        assert code in expected, f"{one.kind} {one.revision}: {self._said(ended)}"
        assert "This is a defect" not in output, output

    def _said(self, ended: list[tuple[Started, int]]) -> str:
        return "\n".join(
            f"{one.kind} {one.revision}: {code}: {(self.folder / f'{one.number}.txt').read_text()}"
            for one, code in ended
        )


def paced(hub: FakeHub, chance: random.Random) -> None:
    """Change the speed of the Hub, so that the programs interleave differently."""
    hub.heal()
    hub.fail(Slow(chance.choice((100_000, 300_000, 1_000_000, 5_000_000))), "*.safetensors")


def counted(what: str, number: int, seen: dict[str, int]) -> dict[str, int]:
    """Return the counts for the scorecard; the programs are counted by their exit code."""
    return {what: number, "programs": sum(seen.values()), **dict(sorted(seen.items()))}


@pytest.mark.parametrize("rounds", [5, pytest.param(60, marks=pytest.mark.stress(part="four-processes"))])
def test_four_concurrent_processes_lose_no_file(
    hub: FakeHub, fork_server: ForkServer, tmp_path: Path, rounds: int, scorecard: Scorecard
) -> None:
    chance = random.Random(scorecard.seed)
    seen: dict[str, int] = {}
    done = 0
    try:
        for number in range(rounds):
            (tmp_path / str(number)).mkdir()
            table = SharedCache(tmp_path / str(number), hub, fork_server, seen=seen)
            for kinds in (("pull", "hf"), ("pull", "rm", "hf", "verify"), ("rm", "verify"), ("pull", "hf"), ("rm",)):
                paced(hub, chance)
                for kind in (*kinds, *chance.choices(KINDS, k=4 - len(kinds))):
                    table.start(kind, chance.choice(list(REVISIONS)))
                table.join()
            table.sweep()
            done = number + 1
    finally:
        scorecard.record(counts=counted("rounds", done, seen))


class Races(RuleBasedStateMachine):
    """Programs that start and end in random order."""

    hub: FakeHub
    fork_server: ForkServer
    folders: Iterator[Path]
    seen: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        folder = next(self.folders)
        folder.mkdir()
        self.table = SharedCache(folder, self.hub, self.fork_server, seen=self.seen)

    @precondition(lambda self: len(self.table.running) < 4)
    @rule(kind=st.sampled_from(KINDS), revision=st.sampled_from(sorted(REVISIONS)))
    def start(self, kind: str, revision: str) -> None:
        self.table.start(kind, revision)

    @precondition(lambda self: len(self.table.running) > 1)
    @rule(pace=st.sampled_from((100_000, 500_000, 5_000_000)))
    def join(self, pace: int) -> None:
        self.table.join()
        self.hub.heal()
        self.hub.fail(Slow(pace), "*.safetensors")

    def teardown(self) -> None:
        self.table.join()
        self.table.sweep()


@pytest.mark.parametrize("examples", [6, pytest.param(40, marks=pytest.mark.stress(part="four-processes"))])
def test_no_order_of_starts_and_ends_loses_a_file(
    hub: FakeHub, fork_server: ForkServer, tmp_path: Path, examples: int, scorecard: Scorecard
) -> None:
    class Here(Races):
        pass

    Here.hub, Here.fork_server, Here.folders = hub, fork_server, (tmp_path / str(number) for number in count())
    Here.seen = {}
    try:
        run_state_machine_as_test(
            seed(scorecard.seed)(Here),
            settings=settings(
                max_examples=examples,
                stateful_step_count=12,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        scorecard.record(counts=counted("orders", len(list(tmp_path.iterdir())), Here.seen))
