"""Limits of the system: models run with few open files, and too little memory ends in an error that says so."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import parrot_in, serving
from tests.e2e.test_run import Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = [pytest.mark.timeout(1200), pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.mark.parametrize("files", [256, 32])
def test_a_model_runs_with_few_open_files(bird: Bird, files: int) -> None:
    outcome = bird.shell(f"ulimit -n {files}; mlxk run $BIRD '{CAPITAL}'")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{ANSWERS[CAPITAL]}\n", "")


def test_too_few_open_files_are_not_the_fault_of_the_model(bird: Bird) -> None:
    outcome = bird.shell(f"ulimit -n 10; mlxk run $BIRD '{CAPITAL}' --json")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (1, "generation_failed")
    assert error["message"] == "No process could be started for the model: Too many open files"
    assert error["hint"] == "The system allows no more processes or open files; close some"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of a running process can be set on Linux only")
def test_a_server_answers_with_few_open_files(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    parrot_in(machine)
    with serving(machine) as server:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, 3000))
        assert server.chat("parrot", CAPITAL).text() == ANSWERS[CAPITAL]
        limits = resource.prlimit(server.worker(), resource.RLIMIT_NOFILE)
        assert limits == (2048, 3000)  # for the shards of large models; mlx-lm's own 4096 is not possible


@pytest.mark.cold_start
def test_too_little_memory_is_an_error(bird: Bird) -> None:
    outcome = bird.shell(f"ulimit -v 300000; mlxk run $BIRD '{CAPITAL}'")
    assert (outcome.code, outcome.out) == (1, "")
    assert "Traceback" not in outcome.err
    error, hint = outcome.err.splitlines()
    assert error.startswith("error: The model process ")
    assert hint == "hint: This shell limits the memory of a process: see ulimit -v"
