"""What every ``Programs`` promises, and what only real processes can break."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from mlxknife.adapters.process.programs import LocalPrograms
from mlxknife.domain.errors import StorageError
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputChunk
from mlxknife.ports.system.programs import Programs
from tests.fakes.programs import FakePrograms

CAT = ("cat",)
COUNT = ("wc", "-c")
COMPLAINS = ("sh", "-c", "cat; echo no >&2; exit 3")
DEAF = ("true",)
MISSING = ("there-is-no-such-program",)

Source = Callable[[bytes], IO[bytes]]


def fake() -> FakePrograms:
    return FakePrograms(
        {
            CAT: lambda data: (data, b"", 0),
            COUNT: lambda data: (b"%d\n" % len(data), b"", 0),
            COMPLAINS: lambda data: (data, b"no\n", 3),
            DEAF: lambda _: (b"", b"", 0),
        }
    )


@pytest.fixture(params=[LocalPrograms, fake], ids=["real", "fake"])
def programs(request: pytest.FixtureRequest) -> Programs:
    made: Programs = request.param()
    return made


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    opened: list[IO[bytes]] = []

    def make(data: bytes) -> IO[bytes]:
        (tmp_path / "source").write_bytes(data)
        opened.append((tmp_path / "source").open("rb"))
        return opened[-1]

    yield make
    for file in opened:
        file.close()


def told(heard: Iterable[CommandEvent]) -> dict[int, tuple[bytes, bytes, int]]:
    """Return what every program wrote, and how it ended: that comes once, and last."""
    out: dict[int, bytes] = defaultdict(bytes)
    err: dict[int, bytes] = defaultdict(bytes)
    ends: dict[int, int] = {}
    for event in heard:
        assert event.number not in ends
        if isinstance(event, CommandExited):
            assert event.seconds >= 0
            ends[event.number] = event.status
        else:
            assert event.data
            (err if event.is_error else out)[event.number] += event.data
    return {number: (out[number], err[number], status) for number, status in sorted(ends.items())}


# --- every one


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("data", [b"", b"a line\n", bytes(range(256)) * 400])
def test_each_is_given_everything(programs: Programs, source: Source, data: bytes, *, side_by_side: bool) -> None:
    heard = told(programs.run([CAT, COUNT, COMPLAINS, DEAF], source(data), side_by_side=side_by_side))
    count = b"%d\n" % len(data)
    assert heard[0] == (data, b"", 0)
    assert (heard[1][0].strip(), heard[1][1:]) == (count.strip(), (b"", 0))
    assert heard[2] == (data, b"no\n", 3)
    assert heard[3] == (b"", b"", 0)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_without_a_source_there_is_nothing_to_read(programs: Programs, *, side_by_side: bool) -> None:
    assert told(programs.run([CAT, COMPLAINS], None, side_by_side=side_by_side)) == {
        0: (b"", b"", 0),
        1: (b"", b"no\n", 3),
    }


@pytest.mark.parametrize("side_by_side", [True, False])
def test_one_that_is_not_there_says_so_and_hinders_nobody(
    programs: Programs, source: Source, *, side_by_side: bool
) -> None:
    heard = told(programs.run([MISSING, CAT, MISSING], source(b"x"), side_by_side=side_by_side))
    complaint = b"there-is-no-such-program: command not found\n"
    assert heard == {0: (b"", complaint, 127), 1: (b"x", b"", 0), 2: (b"", complaint, 127)}


def test_nothing_to_run_is_nothing_to_hear(programs: Programs) -> None:
    assert list(programs.run([], None, side_by_side=True)) == []


def test_one_after_the_other_none_begins_before_the_last_has_ended(programs: Programs, source: Source) -> None:
    numbers = [event.number for event in programs.run([CAT, CAT, CAT], source(b"abc" * 9), side_by_side=False)]
    assert numbers == sorted(numbers)


def test_a_source_that_cannot_be_read(programs: Programs, tmp_path: Path) -> None:
    with (
        os.fdopen(os.open(tmp_path / "unreadable", os.O_WRONLY | os.O_CREAT), "rb") as broken,
        pytest.raises(StorageError, match="stdin cannot be read: Bad file descriptor"),
    ):
        list(programs.run([CAT], broken, side_by_side=True))


def test_whoever_has_heard_enough_closes_it(programs: Programs, source: Source) -> None:
    with closing(programs.run([CAT, CAT], source(b"abc" * 9), side_by_side=True)) as heard:
        assert isinstance(next(heard), OutputChunk)
    assert list(heard) == []


# --- real processes


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def piped() -> tuple[IO[bytes], int]:
    """Return a source that somebody can still write to, and where."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), writing


def wait_for(path: Path) -> str:
    """Return what stands in a file as soon as it is there, and whole."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text().strip()


def is_alive(pid: int) -> bool:
    """Tell whether a process does anything still: a dead one may wait for its parent."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


def test_side_by_side_they_can_wait_for_each_other(tmp_path: Path) -> None:
    ping, pong = tmp_path / "ping", tmp_path / "pong"
    os.mkfifo(ping)
    os.mkfifo(pong)
    heard = told(
        LocalPrograms().run(
            [shell(f"echo one >{ping}; cat {pong}"), shell(f"cat {ping}; echo two >{pong}")], None, side_by_side=True
        )
    )
    assert heard == {0: (b"two\n", b"", 0), 1: (b"one\n", b"", 0)}


def test_what_comes_is_passed_on_before_the_source_is_over() -> None:
    source, writing = piped()
    with source, closing(LocalPrograms().run([CAT, CAT], source, side_by_side=True)) as heard:
        os.write(writing, b"first")
        assert sorted(next(heard).number for _ in range(2)) == [0, 1]
        os.write(writing, b"second")
        assert {next(heard) for _ in range(2)} == {OutputChunk(0, b"second"), OutputChunk(1, b"second")}
        os.close(writing)
        assert told(heard) == {0: (b"", b"", 0), 1: (b"", b"", 0)}


@pytest.mark.parametrize("words", [[DEAF, DEAF], [DEAF, MISSING], [MISSING]])
@pytest.mark.parametrize("side_by_side", [True, False])
def test_it_is_over_when_all_have_ended_whatever_the_source_still_holds(
    words: list[tuple[str, ...]], *, side_by_side: bool
) -> None:
    source, writing = piped()
    with source:
        assert set(told(LocalPrograms().run(words, source, side_by_side=side_by_side))) == set(range(len(words)))
    os.close(writing)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_one_that_reads_nothing_or_stops_keeps_nobody_from_the_rest(source: Source, *, side_by_side: bool) -> None:
    data = os.urandom(1 << 20) * 10
    programs = [shell("exec <&-; sleep 0.1; echo deaf"), ("head", "-c", "1"), DEAF, CAT]
    heard = told(LocalPrograms().run(programs, source(data), side_by_side=side_by_side))
    assert heard[0] == (b"deaf\n", b"", 0)
    assert heard[1] == (data[:1], b"", 0)
    assert heard[3] == (data, b"", 0)


def test_one_that_never_reads_does_not_keep_back_what_others_wait_for() -> None:
    source, writing = piped()
    with source, closing(LocalPrograms().run([("sleep", "1000"), ("head", "-c", "3")], source, side_by_side=True)) as h:
        os.write(writing, b"abc")
        assert [type(next(h)), type(next(h))] == [OutputChunk, CommandExited]
    os.close(writing)


def test_what_was_killed_is_told_as_a_shell_tells_it() -> None:
    (ended,) = LocalPrograms().run([shell("kill -KILL $$")], None, side_by_side=True)
    assert isinstance(ended, CommandExited)
    assert (ended.status, ended.signal) == (128 + signal.SIGKILL, signal.SIGKILL)


def test_one_that_closes_its_outputs_is_waited_for(tmp_path: Path) -> None:
    script = f"exec >&- 2>&-; sleep 0.2; echo over >{tmp_path}/over; exit 5"
    assert told(LocalPrograms().run([shell(script), CAT], None, side_by_side=True))[0][2] == 5
    assert (tmp_path / "over").exists()


def test_what_cannot_be_started_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "odd").write_text("no program")
    (tmp_path / "odd").chmod(0o755)
    words = [[str(tmp_path / name)] for name in ("text", "odd", "none")]
    heard = told(LocalPrograms().run(words, None, side_by_side=False))
    assert [status for _, _, status in heard.values()] == [126, 126, 127]
    assert heard[0][1] == f"{tmp_path}/text: Permission denied\n".encode()
    assert heard[2][1] == f"{tmp_path}/none: No such file or directory\n".encode()


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["willing", "unwilling"])
def test_closing_ends_them_with_their_children(tmp_path: Path, trap: str) -> None:
    script = (
        f"{trap} (echo $$ >{tmp_path}/parent; sh -c 'echo $$ >{tmp_path}/child; while :; do sleep 0.05; done') & wait"
    )
    programs = [shell("echo; sleep 1000"), shell(script)]
    LocalPrograms().run(programs, None, side_by_side=True).close()
    assert list(tmp_path.iterdir()) == []  # nothing is started before somebody listens
    with closing(LocalPrograms(grace=0.2).run(programs, None, side_by_side=True)) as heard:
        assert next(heard) == OutputChunk(0, b"\n")
        pids = [int(wait_for(tmp_path / name)) for name in ("parent", "child")]
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_a_signal_that_comes_while_something_starts_is_heard_when_it_is_known(tmp_path: Path) -> None:
    """The handler raises: nothing may be lost that was started by then."""
    marks = [tmp_path / str(number) for number in range(40)]
    programs = [shell(f"echo $$ >{mark}; kill -TERM {os.getpid()}; sleep 1000") for mark in marks]

    def stop(number: int, _: object) -> None:
        raise SystemExit(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with (
            pytest.raises(SystemExit),
            closing(LocalPrograms(grace=0.2).run(programs, None, side_by_side=True)) as heard,
        ):
            list(heard)
    finally:
        signal.signal(signal.SIGTERM, before)
    started = [int(mark.read_text()) for mark in marks if mark.exists() and mark.read_text().strip()]
    assert started
    assert not any(map(is_alive, started))


def test_ignored_signals_stay_ignored_in_what_is_started() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        heard = told(LocalPrograms().run([shell("kill -HUP $$; echo alive")], None, side_by_side=True))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == {0: (b"alive\n", b"", 0)}
