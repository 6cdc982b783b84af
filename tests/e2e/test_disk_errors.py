"""A disk that fails: exit code 3 and one JSON error, no file is lost, and reading still works.

Every call that changes the cache is refused in turn; ``make stress`` does so with every error at every call.
"""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from mlxknife.domain.removal.values import Leftovers
from tests.contracts.permissions import shared_folder
from tests.e2e.processes import Machine
from tests.e2e.sabotage import IS_ROOT, Disturbed, Ran, Refusal, filled, give_away, mount, only
from tests.e2e.test_pull_killed import CASES, MODEL, PULL, Scene, check_truth, large, scene, small, tree
from tests.fake_hub import Slow
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

FULL = Refusal(errno.ENOSPC, 0)
ERRORS = (FULL, Refusal(errno.EIO, 0, once=True), Refusal(errno.EROFS, 0), Refusal(errno.EACCES, 0))
STRIDES = pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.stress(part="disk-errors"))])
MOST_CALLS = 400
REPO = "models--org--model"
READS = (("list", "--json"), ("show", "org/other", "--json"), ("health", "--verify", "--json"))

HARMLESS_TO_PULL = re.compile(rf"E[A-Z]+ ((unlink|rmdir) \.locks(/.*)?|rmdir {REPO}(/blobs)?)")  # clutter
HARMLESS = re.compile(
    HARMLESS_TO_PULL.pattern
    + r"|E[A-Z]+ rmdir \.mlxk-trash"  # an empty trash folder is clutter, too
    + rf"|E[A-Z]+ unlink {REPO}/trees/[0-9a-f]+\.json"  # a tree listing of a removed snapshot is clutter, too
    + rf"|E[A-Z]+ open \.locks/{REPO}/[0-9a-f]+\.lock"  # a blob that cannot be locked stays as a reported orphan
    + r"|ENOSPC open \.mlxk-trash/[0-9a-f]+/note.json"  # a removal frees space
)


def check_error(ran: Ran, error: int, harmless: re.Pattern[str]) -> None:
    """Check the end of a command whose disk calls failed."""
    is_harmless = all(harmless.fullmatch(f"{errno.errorcode[error]} {call}") for call in ran.calls)
    if is_harmless:
        assert ran.outcome.code == 0, ran
        ran.outcome.data()
        return
    check_failure(ran, "PermissionError" if error == errno.EACCES else "FilesystemError")


def is_made_good(found: Scene, ran: Ran, refusal: Refusal) -> bool:
    """Return whether a call in the trash that failed once was unnecessary or retried, so that nothing is left."""
    in_trash = all(call.partition(" ")[2].startswith(".mlxk-trash/") for call in ran.calls)
    return refusal.once and in_trash and ran.outcome.code == 0 and found.leftovers() == Leftovers((), ())


def check_failure(ran: Ran, kind: str) -> None:
    document = ran.outcome.document()
    assert isinstance(document["error"], dict), ran
    end = (ran.outcome.code, ran.outcome.err, document["status"], document["error"]["type"])
    assert end == (3, "", "error", kind), ran


def refusals(stride: int) -> Iterator[tuple[Refusal, ...]]:
    """Yield the errors for each call: one of them in turn, or all of them with a stride of 1."""
    for at in range(MOST_CALLS):
        errors = ERRORS if stride == 1 else ERRORS[at // stride % len(ERRORS) :][:1]
        if at % stride == 0:
            yield tuple(attrs.evolve(error, at=at) for error in errors)
    pytest.fail("it never came to its end")


def refuse(found: Scene, words: tuple[str, ...], stride: int, finish: Callable[[], None]) -> int:
    """Let each call of a command fail in a fresh cache; return the number of runs."""
    count, harmless = 0, HARMLESS_TO_PULL if words == PULL else HARMLESS
    for errors in refusals(stride):
        was_refused = errors == (
            attrs.evolve(FULL, at=errors[0].at),
        )  # a removal continues on a full disk, so later calls may fail
        for refusal in errors:
            found.set_up()
            ran = found.stage.run(*words, refusal=refusal)
            if ran.calls:
                was_refused = True
                count += 1
                if not is_made_good(found, ran, refusal):
                    check_error(ran, refusal.errno, harmless)
            check_truth(found)
            finish()
        if not was_refused:
            return count
    raise AssertionError


@contextmanager
def two_revisions(machine: Machine) -> Iterator[Scene]:
    with scene("second revision", small, machine) as found:
        both = machine.root / "both"
        shutil.copytree(machine.hub, both, symlinks=True)
        yield attrs.evolve(found, before=both, kept=("org/other",))


def finish_removal(found: Scene, spec: str) -> None:
    """Repeat a removal, or remove the reported orphans if the name no longer resolves."""
    commit = spec.partition("@")[2]
    repo = found.machine.hub / REPO
    is_there = (repo / "snapshots" / commit).is_dir()
    if is_there:
        check_truth(attrs.evolve(found, kept=("org/other", spec)))
    elif commit:
        assert len(list((repo / "blobs").iterdir())) == 5 or found.leftovers() != Leftovers((), ())
    again = found.stage.run("rm", *((spec,) if is_there else ("--orphans", "--force")), "--json")
    assert again.outcome.code == 0, again
    assert found.leftovers() == Leftovers((), ())
    assert not (found.machine.hub / ".mlxk-trash").exists()
    assert repo.exists() == bool(commit)
    check_truth(attrs.evolve(found, kept=("org/other", MODEL)) if commit else found)


def refuse_reads(found: Scene, stride: int) -> int:
    """Let each read of the cache fail, once and permanently; return the number of runs."""
    count = 0
    for at in range(0, MOST_CALLS, stride):
        for once in (True, False):
            refusal = Refusal(errno.EIO, at, once=once, reads=True)
            ran = found.stage.run("health", "--verify", "--json", refusal=refusal)
            if not ran.calls:
                return count
            count += 1
            check_verdicts(ran)
    raise AssertionError


def check_verdicts(ran: Ran) -> None:
    """Check that an unreadable file is not verified, and that every model is reported."""
    if ran.outcome.code == 3:
        check_failure(ran, "FilesystemError")
        assert ran.calls[0] == "listdir "  # the cache itself
        return
    assert ran.outcome.code == 0, ran
    data = ran.outcome.data()
    healthy, unhealthy = data["healthy"], data["unhealthy"]
    assert isinstance(healthy, list)
    assert isinstance(unhealthy, list)
    assert {model["name"] for model in (*healthy, *unhealthy)} == {"org/other", MODEL}
    verified = {model["name"] for model in healthy if model["integrity"] == "verified"}
    for call in ran.calls:
        folder, _, place = call.partition(" ")[2].partition("/")
        if place.startswith(("blobs/", "snapshots")):
            assert folder.removeprefix("models--").replace("--", "/") not in verified, ran


@pytest.mark.parametrize("case", CASES)
@STRIDES
def test_pull_is_refused(case: str, stride: int, machine: Machine, scorecard: Scorecard) -> None:
    with scene(case, small, machine) as found:
        count = refuse(found, PULL, stride, found.complete)
    scorecard.record(counts={"refused": count})
    assert count * stride > 25


@pytest.mark.parametrize("which", ["whole", "one revision"])
@STRIDES
def test_rm_is_refused(which: str, stride: int, machine: Machine, scorecard: Scorecard) -> None:
    with two_revisions(machine) as found:
        commit = next(iter(found.hub.repo(MODEL).commits))
        spec = MODEL if which == "whole" else f"{MODEL}@{commit}"
        count = refuse(found, ("rm", spec, "--json"), stride, lambda: finish_removal(found, spec))
    scorecard.record(counts={"refused": count})
    assert count * stride > 20


def test_reading_is_refused(machine: Machine) -> None:
    with two_revisions(machine) as found:
        found.set_up()
        count = refuse_reads(found, 2)
    assert count > 30


# --- disks that really refuse


@pytest.fixture
def user() -> Iterator[Machine]:
    """Make a machine of an unprivileged user."""
    with shared_folder() as place:
        yield Machine(place)


def check_reads(found: Scene, *, nobody: bool = False) -> None:
    for words in READS:
        ran = found.stage.run(*words, nobody=nobody)
        assert ran.outcome.code == 0, ran


@pytest.mark.parametrize("case", CASES)
def test_a_read_only_cache(case: str, user: Machine) -> None:
    with scene(case, small, user) as found:
        found.set_up()
        give_away(user.hub)
        before = tree(user.hub)
        folders = [user.hub, *(path for path in user.hub.rglob("*") if path.is_dir() and not path.is_symlink())]
        with only(0o555, *folders):
            for words in (PULL, ("rm", "org/other", "--json")):
                check_failure(found.stage.run(*words, nobody=IS_ROOT), "PermissionError")
            check_reads(found, nobody=IS_ROOT)
        assert tree(user.hub) == before
        assert found.stage.run(*PULL, nobody=IS_ROOT).outcome.code == 0
        check_truth(attrs.evolve(found, kept=(*found.kept, MODEL)))


def test_read_only_files_are_replaced(user: Machine) -> None:
    with scene("repair", small, user) as found:
        found.set_up()
        give_away(user.hub)
        with only(0o444, *(path for path in user.hub.rglob("*") if path.is_file() and not path.is_symlink())):
            check_failure(
                found.stage.run(*PULL, nobody=IS_ROOT), "PermissionError"
            )  # the lock files are read-only, too
            check_reads(found, nobody=IS_ROOT)
            shutil.rmtree(user.hub / ".locks")
            assert found.stage.run(*PULL, nobody=IS_ROOT).outcome.code == 0
            check_truth(attrs.evolve(found, kept=(*found.kept, MODEL)))


def test_a_folder_without_permissions(user: Machine) -> None:
    with scene("second revision", small, user) as found:
        found.set_up()
        give_away(user.hub)
        with only(0, user.hub / REPO):
            check_failure(found.stage.run(*PULL, nobody=IS_ROOT), "PermissionError")
            check_reads(found, nobody=IS_ROOT)
        with only(0, user.hub):
            check_failure(found.stage.run(*PULL, nobody=IS_ROOT), "PermissionError")
            check_failure(found.stage.run("list", "--json", nobody=IS_ROOT), "PermissionError")
        check_truth(found)
        assert found.stage.run(*PULL, nobody=IS_ROOT).outcome.code == 0


@pytest.mark.parametrize("case", CASES)
def test_a_file_size_limit(case: str, machine: Machine) -> None:
    with scene(case, small, machine) as found:
        found.set_up()
        ran = found.stage.run(*PULL, largest_file=3000)
        check_failure(ran, "FilesystemError")
        check_truth(found)
        found.complete()


@pytest.fixture
def disk(machine: Machine) -> Iterator[Path]:
    """Mount a small disk as the cache of a machine."""
    machine.hub.mkdir()
    trouble = mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(machine.hub))
    if trouble is not None:
        pytest.skip(f"no disk can be mounted here: {trouble}")
    try:
        yield machine.hub
    finally:
        subprocess.run(["umount", str(machine.hub)], check=True)


def test_a_disk_that_is_too_small(disk: Path, machine: Machine) -> None:
    with scene("second revision", large, machine) as found:
        found.set_up()
        with filled(disk, found.needed - (1 << 20)):
            check_failure(found.stage.run(*PULL), "FilesystemError")
            check_reads(found)
        assert found.sent == 0
        found.finish()


def test_a_disk_that_is_filled_during_the_pull(disk: Path, machine: Machine) -> None:
    with scene("second revision", large, machine) as found:
        found.set_up()
        found.hub.fail(Slow(8 << 20), "*.safetensors")
        process = found.stage.begin(Disturbed(PULL))
        found.hub.wait_until(lambda: found.sent > 2 << 20)
        with filled(disk, 0):
            check_failure(found.stage.end(process), "FilesystemError")
            check_reads(found)
        found.hub.heal()
        found.finish()
        assert found.sent <= found.needed * 1.05


@pytest.mark.parametrize("case", CASES)
def test_a_read_only_disk(case: str, disk: Path, machine: Machine) -> None:
    with scene(case, small, machine) as found:
        found.set_up()
        assert mount("-o", "remount,ro", str(disk)) is None
        for words in (PULL, ("rm", "org/other", "--json")):
            check_failure(found.stage.run(*words), "FilesystemError")
        check_reads(found)
        assert mount("-o", "remount,rw", str(disk)) is None
        found.finish()


@pytest.mark.parametrize("which", ["whole", "one revision"])
def test_rm_frees_space_on_a_full_disk(which: str, disk: Path, machine: Machine) -> None:
    with two_revisions(machine) as found, filled(disk, 0):
        spec = MODEL if which == "whole" else f"{MODEL}@{next(iter(found.hub.repo(MODEL).commits))}"
        assert found.stage.run("rm", spec, "--json").outcome.code == 0

        assert found.leftovers() == Leftovers((), ())
        check_reads(found)
