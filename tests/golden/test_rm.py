"""The examples of seed 2 for ``rm``. The messages of some errors are worded anew."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import attrs
import pytest

import mlxknife
from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore
from mlxknife.cli.main import run_command_line
from mlxknife.domain.removal.values import RemovalTarget
from tests.e2e.processes import Outcome
from tests.fakes.wiring import with_services
from tests.golden.examples import differences, example
from tests.golden.machine import GoldenMachine, phi3_files

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
ADDITIVE = {"commit_hash", "lock_files_cleaned", "removed", "freed_bytes"}


def beyond(expected: dict[str, Any], outcome: Outcome, **message: str) -> list[str]:
    """Return the places where a document is not the example plus the additive fields, with another message if given."""
    if message:
        expected["error"] |= message
    answer: dict[str, Any] = outcome.document()
    data = answer["data"] and {key: value for key, value in answer["data"].items() if key not in ADDITIVE}
    return differences(expected, answer | {"data": data})


def test_the_removal(golden: GoldenMachine) -> None:
    golden.cache.model(PHI, phi3_files())
    outcome = golden.asked("rm", "Phi-3-mini-4k-instruct-4bit")
    assert (outcome.code, beyond(example("rm"), outcome)) == (0, [])
    assert set(outcome.data()) == set(example("rm")["data"]) | ADDITIVE


def test_the_lock_of_another_process(golden: GoldenMachine) -> None:
    folder = golden.cache.model(PHI, phi3_files()).repo.name
    lock = golden.machine.hub / ".locks" / folder / f"{'a' * 64}.lock"
    lock.parent.mkdir(parents=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    expected = example("rm-locks")
    expected["data"]["lock_files"] = [f".locks/{folder}/{lock.name}"]
    outcome = golden.asked("rm", PHI)
    os.close(handle)
    message = str(outcome.document()["error"]["message"])  # type: ignore[index]
    assert (outcome.code, beyond(expected, outcome, message=message)) == (1, [])


def test_a_name_without_a_model(golden: GoldenMachine) -> None:
    outcome = golden.asked("rm", "nonexistent-model")
    message = "No model found matching 'nonexistent-model'"
    assert (outcome.code, beyond(example("rm-not-found"), outcome, message=message)) == (1, [])


def test_a_name_of_several_models(golden: GoldenMachine) -> None:
    expected = example("rm-ambiguous")
    for name in expected["data"]["matches"]:
        golden.cache.model(name)
    outcome = golden.asked("rm", "Llama")
    expected["error"] |= {"matches": expected["data"]["matches"]}
    assert (outcome.code, beyond(expected, outcome, message="Multiple models match 'Llama'")) == (1, [])


class _ReadOnlyStore(CacheRemovalStore):
    """A cache from which nothing may be removed; root could remove everything."""

    def discard(self, target: RemovalTarget) -> None:
        message = f"The model could not be removed: permission denied: {target.folder}"
        raise mlxknife.AccessDenied(message)


def test_a_model_that_must_not_be_removed(golden: GoldenMachine, capsys: pytest.CaptureFixture[str]) -> None:
    golden.cache.model(PHI, phi3_files())

    def open_app(*, reads_config: bool = True) -> mlxknife.App:
        app = mlxknife.open_app(
            hub_cache=golden.machine.hub,
            workspace_home=golden.machine.home,
            environment={},
            reads_config=reads_config,
        )
        remover = attrs.evolve(app.remover, removal_store=_ReadOnlyStore(str(golden.machine.hub)))
        return with_services(app, remover=lambda: remover)

    code = run_command_line(["rm", PHI, "--json"], open_app)
    outcome = Outcome(code, capsys.readouterr().out, "")
    expected = example("rm-permission")
    seed = expected["error"]["message"]
    ours = str(outcome.document()["error"]["message"])  # type: ignore[index]
    assert (code, beyond(expected, outcome, message=ours)) == (3, [])
    assert all("permission denied" in message.lower() for message in (seed, ours))
