"""What is left of processes of models when they, or their parents, have ended: nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxknife.adapters.worker.parent.hosts import WorkerHosts
from mlxknife.domain.serving.values.processes import Loaded
from mlxknife.ports.engines.hosts import Host
from tests.adapters.test_worker import PARROT, play, start
from tests.contracts.ears import Ear, gone
from tests.contracts.test_hosts import REAL
from tests.fakes.loaders import COMMAND
from tests.parrot import parrot_folder

_MUST_COME = 60


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> list[str]:
    """Return the states of all children of this process, zombies included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid():
                found.append(f"{entry} {state}")
    return sorted(found)


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _MUST_COME
    while not is_so():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)


def is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc to count in")
@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.stress)])
def test_nothing_is_left_open_and_no_child_is_left(rounds: int) -> None:
    async def act() -> None:
        await asyncio.sleep(0)
        before, others = open_descriptors(), children()
        for number in range(rounds):
            ear = Ear()
            hosts = [start(ear, "/nowhere"), start(ear, command=("/nowhere/python",)), start(ear)]
            for _ in range(3):
                await ear.next()
            if number % 2:
                os.kill(hosts[2].process_id or -1, 9)
                await ear.fell()
            hosts[2].close()
            for host in hosts:
                await gone(host)
            await asyncio.sleep(0.05)
        assert open_descriptors() == before
        assert children() == others

    play(act())


def test_closing_after_the_loop_has_ended_ends_the_process_too() -> None:
    hosts: list[Host] = []
    numbers: list[int] = []

    async def act() -> None:
        ear = Ear()
        hosts.append(start(ear))
        assert isinstance(await ear.next(), Loaded)
        numbers.append(hosts[0].process_id or -1)

    play(act())
    hosts[0].close()
    hosts[0].close()
    assert hosts[0].process_id is None
    assert not is_there(numbers[0])


PARENT = """
import asyncio, sys
from mlxknife.adapters.worker.parent.hosts import WorkerHosts
from mlxknife.wiring.app import open_hosts
from mlxknife.domain.serving.values.processes import Loaded
from mlxknife.domain.models.values.snapshot import Location
from tests.contracts.ears import endless

async def main(moment, place, *command):
    hosts = WorkerHosts(command, lambda: 0) if command else open_hosts()
    def hear(event):
        if isinstance(event, Loaded) and moment == "busy":
            host.submit(endless(1))
        if (moment, type(event).__name__) in (("idle", "Loaded"), ("busy", "BatchStep")):
            print(host.process_id, flush=True)
    host = hosts.start(Location(place, (place,)), "fast", hear)
    if moment == "loading":
        print(host.process_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


def orphaned(moment: str, place: str, *command: str) -> int:
    """Let a parent start a process and be killed; return the number of that process."""
    words = [sys.executable, "-c", PARENT, moment, place, *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.kill()
    return number


@pytest.mark.parametrize(
    ("moment", "place"), [("loading", "parrot sleepy"), ("idle", PARROT), ("busy", PARROT), ("busy", "parrot stuck")]
)
def test_no_process_outlives_its_parent(moment: str, place: str) -> None:
    moment = "idle" if "stuck" in place else moment
    number = orphaned(moment, place, *COMMAND)
    wait_for(lambda: not is_there(number))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("moment", ["idle", "busy"])
def test_no_process_of_a_real_model_outlives_its_parent(moment: str) -> None:
    number = orphaned(moment, str(parrot_folder()))
    wait_for(lambda: not is_there(number))


def test_the_hidden_entry_is_the_one_that_is_started() -> None:
    from mlxknife.wiring import app as bootstrap  # noqa: PLC0415 - only here

    hosts = bootstrap.open_hosts()
    assert isinstance(hosts, WorkerHosts)
    assert hosts.command == REAL
