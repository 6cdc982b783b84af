"""The contract of ``Programs`` for the fake and for child processes, and what only processes can break."""

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
FAILS = ("sh", "-c", "cat; echo no >&2; exit 3")
READS_NOTHING = ("true",)
MISSING = ("there-is-no-such-program",)

Source = Callable[[bytes], IO[bytes]]


def fake() -> FakePrograms:
    return FakePrograms(
        {
            CAT: lambda data: (data, b"", 0),
            COUNT: lambda data: (b"%d\n" % len(data), b"", 0),
            FAILS: lambda data: (data, b"no\n", 3),
            READS_NOTHING: lambda _: (b"", b"", 0),
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


def outcomes(events: Iterable[CommandEvent]) -> dict[int, tuple[bytes, bytes, int]]:
    """Return stdout, stderr and status of every program; its end must come once, after its output."""
    out: dict[int, bytes] = defaultdict(bytes)
    err: dict[int, bytes] = defaultdict(bytes)
    ends: dict[int, int] = {}
    for event in events:
        assert event.number not in ends
        if isinstance(event, CommandExited):
            assert event.seconds >= 0
            ends[event.number] = event.status
        else:
            assert event.data
            (err if event.is_error else out)[event.number] += event.data
    return {number: (out[number], err[number], status) for number, status in sorted(ends.items())}


# --- every implementation


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("data", [b"", b"a line\n", bytes(range(256)) * 400])
def test_each_program_reads_the_whole_source(
    programs: Programs, source: Source, data: bytes, *, side_by_side: bool
) -> None:
    results = outcomes(programs.run([CAT, COUNT, FAILS, READS_NOTHING], source(data), side_by_side=side_by_side))
    count = b"%d\n" % len(data)
    assert results[0] == (data, b"", 0)
    assert (results[1][0].strip(), results[1][1:]) == (count.strip(), (b"", 0))
    assert results[2] == (data, b"no\n", 3)
    assert results[3] == (b"", b"", 0)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_without_a_source_stdin_is_empty(programs: Programs, *, side_by_side: bool) -> None:
    assert outcomes(programs.run([CAT, FAILS], None, side_by_side=side_by_side)) == {
        0: (b"", b"", 0),
        1: (b"", b"no\n", 3),
    }


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_missing_program_fails_with_127_and_the_others_run(
    programs: Programs, source: Source, *, side_by_side: bool
) -> None:
    results = outcomes(programs.run([MISSING, CAT, MISSING], source(b"x"), side_by_side=side_by_side))
    message = b"there-is-no-such-program: command not found\n"
    assert results == {0: (b"", message, 127), 1: (b"x", b"", 0), 2: (b"", message, 127)}


def test_without_programs_there_are_no_events(programs: Programs) -> None:
    assert list(programs.run([], None, side_by_side=True)) == []


def test_one_after_the_other_a_program_starts_after_the_end_of_the_one_before(
    programs: Programs, source: Source
) -> None:
    numbers = [event.number for event in programs.run([CAT, CAT, CAT], source(b"abc" * 9), side_by_side=False)]
    assert numbers == sorted(numbers)


def test_a_source_that_cannot_be_read_is_a_storage_error(programs: Programs, tmp_path: Path) -> None:
    with (
        os.fdopen(os.open(tmp_path / "unreadable", os.O_WRONLY | os.O_CREAT), "rb") as broken,
        pytest.raises(StorageError, match="stdin cannot be read: Bad file descriptor"),
    ):
        list(programs.run([CAT], broken, side_by_side=True))


def test_a_run_can_be_closed_early(programs: Programs, source: Source) -> None:
    with closing(programs.run([CAT, CAT], source(b"abc" * 9), side_by_side=True)) as events:
        assert isinstance(next(events), OutputChunk)
    assert list(events) == []


# --- real processes


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def piped() -> tuple[IO[bytes], int]:
    """Return a source, and the descriptor that writes to it."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), writing


def wait_for(path: Path) -> str:
    """Return the content of a file as soon as it exists and is complete."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text().strip()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


def test_side_by_side_programs_can_wait_for_each_other(tmp_path: Path) -> None:
    ping, pong = tmp_path / "ping", tmp_path / "pong"
    os.mkfifo(ping)
    os.mkfifo(pong)
    results = outcomes(
        LocalPrograms().run(
            [shell(f"echo one >{ping}; cat {pong}"), shell(f"cat {ping}; echo two >{pong}")], None, side_by_side=True
        )
    )
    assert results == {0: (b"two\n", b"", 0), 1: (b"one\n", b"", 0)}


def test_input_is_passed_on_before_the_source_ends() -> None:
    source, writing = piped()
    with source, closing(LocalPrograms().run([CAT, CAT], source, side_by_side=True)) as events:
        os.write(writing, b"first")
        assert sorted(next(events).number for _ in range(2)) == [0, 1]
        os.write(writing, b"second")
        assert {next(events) for _ in range(2)} == {OutputChunk(0, b"second"), OutputChunk(1, b"second")}
        os.close(writing)
        assert outcomes(events) == {0: (b"", b"", 0), 1: (b"", b"", 0)}


@pytest.mark.parametrize("words", [[READS_NOTHING, READS_NOTHING], [READS_NOTHING, MISSING], [MISSING]])
@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_run_ends_with_its_programs_whatever_the_source_still_holds(
    words: list[tuple[str, ...]], *, side_by_side: bool
) -> None:
    source, writing = piped()
    with source:
        assert set(outcomes(LocalPrograms().run(words, source, side_by_side=side_by_side))) == set(range(len(words)))
    os.close(writing)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_program_that_stops_reading_does_not_delay_the_others(source: Source, *, side_by_side: bool) -> None:
    data = os.urandom(1 << 20) * 10
    programs = [shell("exec <&-; sleep 0.1; echo done"), ("head", "-c", "1"), READS_NOTHING, CAT]
    results = outcomes(LocalPrograms().run(programs, source(data), side_by_side=side_by_side))
    assert results[0] == (b"done\n", b"", 0)
    assert results[1] == (data[:1], b"", 0)
    assert results[3] == (data, b"", 0)


def test_a_program_that_never_reads_does_not_keep_input_from_the_others() -> None:
    source, writing = piped()
    with source, closing(LocalPrograms().run([("sleep", "1000"), ("head", "-c", "3")], source, side_by_side=True)) as h:
        os.write(writing, b"abc")
        assert [type(next(h)), type(next(h))] == [OutputChunk, CommandExited]
    os.close(writing)


def test_the_status_of_a_killed_program_is_that_of_a_shell() -> None:
    (ended,) = LocalPrograms().run([shell("kill -KILL $$")], None, side_by_side=True)
    assert isinstance(ended, CommandExited)
    assert (ended.status, ended.signal) == (128 + signal.SIGKILL, signal.SIGKILL)


def test_a_program_that_closes_its_outputs_is_waited_for(tmp_path: Path) -> None:
    script = f"exec >&- 2>&-; sleep 0.2; echo over >{tmp_path}/over; exit 5"
    assert outcomes(LocalPrograms().run([shell(script), CAT], None, side_by_side=True))[0][2] == 5
    assert (tmp_path / "over").exists()


def test_a_file_that_cannot_be_executed_fails_with_126(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "odd").write_text("no program")
    (tmp_path / "odd").chmod(0o755)
    words = [[str(tmp_path / name)] for name in ("text", "odd", "none")]
    results = outcomes(LocalPrograms().run(words, None, side_by_side=False))
    assert [status for _, _, status in results.values()] == [126, 126, 127]
    assert results[0][1] == f"{tmp_path}/text: Permission denied\n".encode()
    assert results[2][1] == f"{tmp_path}/none: No such file or directory\n".encode()


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["ends-on-sigterm", "ignores-sigterm"])
def test_closing_a_run_kills_the_programs_with_their_children(tmp_path: Path, trap: str) -> None:
    script = (
        f"{trap} (echo $$ >{tmp_path}/parent; sh -c 'echo $$ >{tmp_path}/child; while :; do sleep 0.05; done') & wait"
    )
    programs = [shell("echo; sleep 1000"), shell(script)]
    LocalPrograms().run(programs, None, side_by_side=True).close()
    assert list(tmp_path.iterdir()) == []  # nothing starts before the first event is requested
    with closing(LocalPrograms(grace=0.2).run(programs, None, side_by_side=True)) as events:
        assert next(events) == OutputChunk(0, b"\n")
        pids = [int(wait_for(tmp_path / name)) for name in ("parent", "child")]
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


def test_a_signal_during_a_start_is_handled_after_it(tmp_path: Path) -> None:
    """The handler raises; every program that has been started must still be ended."""
    marks = [tmp_path / str(number) for number in range(40)]
    programs = [shell(f"echo $$ >{mark}; kill -TERM {os.getpid()}; sleep 1000") for mark in marks]

    def stop(number: int, _: object) -> None:
        raise SystemExit(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with (
            pytest.raises(SystemExit),
            closing(LocalPrograms(grace=0.2).run(programs, None, side_by_side=True)) as events,
        ):
            list(events)
    finally:
        signal.signal(signal.SIGTERM, before)
    started = [int(mark.read_text()) for mark in marks if mark.exists() and mark.read_text().strip()]
    assert started
    assert not any(map(is_alive, started))


def test_ignored_signals_stay_ignored_in_the_programs() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        results = outcomes(LocalPrograms().run([shell("kill -HUP $$; echo alive")], None, side_by_side=True))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert results == {0: (b"alive\n", b"", 0)}
