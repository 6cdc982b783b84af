"""When a model process or its parent has ended, nothing of either is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.ports.engines.processes import ModelProcess
from mlxknife.wiring.run import model_processes
from tests.adapters.test_worker_crashes import PARROT, play, start
from tests.contracts.process_listener import Listener, gone
from tests.contracts.test_model_processes import REAL
from tests.fakes.scripted_engine import COMMAND
from tests.parrot import parrot_folder

_MAX_WAIT = 60


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> list[str]:
    """Return the ids and states of all children of this process, zombies included."""
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
    end = time.monotonic() + _MAX_WAIT
    while not is_so():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc to count in")
@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.stress(part="model-processes"))])
def test_no_descriptor_and_no_child_is_left(rounds: int) -> None:
    async def act() -> None:
        await asyncio.sleep(0)
        before, others = open_descriptors(), children()
        for number in range(rounds):
            listener = Listener()
            processes = [start(listener, "/nowhere"), start(listener, command=("/nowhere/python",)), start(listener)]
            for _ in range(3):
                await listener.state()
            if number % 2:
                os.kill(processes[2].process_id or -1, 9)
                await listener.error()
            processes[2].close()
            for process in processes:
                await gone(process)
            await asyncio.sleep(0.05)
        assert open_descriptors() == before
        assert children() == others

    play(act())


def test_closing_after_the_loop_has_ended_ends_the_process() -> None:
    processes: list[ModelProcess] = []
    numbers: list[int] = []

    async def act() -> None:
        listener = Listener()
        processes.append(start(listener))
        await listener.loaded()
        numbers.append(processes[0].process_id or -1)

    play(act())
    processes[0].close()
    processes[0].close()
    assert processes[0].process_id is None
    assert not exists(numbers[0])


PARENT = """
import asyncio, sys
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.generation.values.answer import Delta
from mlxknife.domain.generation.values.loading import ModelLoaded
from mlxknife.wiring.run import model_processes
from tests.contracts.process_listener import endless, load_request

async def main(moment, place, *command):
    processes = WorkerProcesses(command) if command else model_processes()
    def on_state(state):
        if isinstance(state, ModelLoaded) and moment == "idle":
            print(process.process_id, flush=True)
        if isinstance(state, ModelLoaded) and moment in ("busy", "paused"):
            process.submit(endless(), on_event)
    def on_event(event):
        if isinstance(event, Delta):
            if moment == "paused":
                process.pause()
            print(process.process_id, flush=True)
    process = processes.start(on_state)
    if moment == "starting":
        print(process.process_id, flush=True)
    else:
        process.load(load_request(place))
    if moment == "loading":
        print(process.process_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""

THREAD = """
import os, sys, threading, time
from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from tests.contracts.process_listener import load_request

clients = BlockingClients(WorkerProcesses(sys.argv[1:]))
client = clients.start()
client.load(load_request("parrot"))
print(client._started.result().process_id, flush=True)
"""


def orphan(moment: str, place: str, *command: str) -> int:
    """Let a parent start a model process, and kill the parent; return the id of the process."""
    words = [sys.executable, "-c", PARENT, moment, place, *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.kill()
    return number


@pytest.mark.parametrize(
    ("moment", "place"),
    [
        ("starting", PARROT),
        ("loading", "parrot sleepy"),
        ("idle", PARROT),
        ("busy", PARROT),
        ("paused", PARROT),
        ("idle", "parrot stuck"),
    ],
)
def test_no_process_outlives_its_parent(moment: str, place: str) -> None:
    number = orphan(moment, place, *COMMAND)
    wait_for(lambda: not exists(number))


@pytest.mark.timeout(1200)
def test_no_process_of_a_real_model_outlives_its_parent() -> None:
    number = orphan("busy", str(parrot_folder()))
    wait_for(lambda: not exists(number))


def test_no_process_outlives_a_program_that_forgets_to_close_its_client() -> None:
    outcome = subprocess.run([sys.executable, "-c", THREAD, *COMMAND], capture_output=True, text=True, check=True)
    number = int(outcome.stdout)
    wait_for(lambda: not exists(number))


def test_the_hidden_option_is_the_command_that_is_started() -> None:
    processes = model_processes()
    assert isinstance(processes, WorkerProcesses)
    assert processes.command == REAL
