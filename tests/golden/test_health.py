"""The examples of seed 2 for ``health`` and ``version``."""

from __future__ import annotations

from typing import Any

import pytest

import mlxknife
from tests.adapters.damages import LFS_POINTER
from tests.builder import chat_files, write_workspace
from tests.golden.examples import differences, example
from tests.golden.machine import GoldenMachine, phi3_files, without

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
LLAMAS = ("mlx-community/Llama-3.2-1B-Instruct-4bit", "mlx-community/Llama-3.2-3B-Instruct-4bit")


@pytest.mark.parametrize("words", [(), ("Phi-3",), (PHI,), ("Phi-3-mini@abc",)], ids=str)
def test_the_healthy_model(golden: GoldenMachine, words: tuple[str, ...]) -> None:
    golden.cache.model(PHI, phi3_files(), commit="abcdef" + 34 * "0")
    answer = golden.ask("health", *words)
    assert differences(example("health-healthy"), answer) == []
    assert answer["data"]["healthy"][0]["integrity"] == "structural"


def test_the_unhealthy_models(golden: GoldenMachine) -> None:
    golden.cache.model(PHI, without(phi3_files(), "config.json"))
    golden.cache.model("corrupted/model", chat_files() | {"model.safetensors": LFS_POINTER})
    outcome = golden.asked("health")
    assert outcome.code == 0
    assert differences(example("health-unhealthy"), outcome.document()) == []


def test_the_corruption_of_a_real_cache(golden: GoldenMachine) -> None:
    golden.cache.model(PHI, without(phi3_files(), "config.json"))
    assert differences(example("health-corruption"), golden.ask("health")) == []


def llamas(golden: GoldenMachine) -> None:
    for name in (*LLAMAS, PHI):
        golden.cache.model(name, commit="e96" + 37 * "0")


def test_several_models_of_one_revision_are_ambiguous(golden: GoldenMachine) -> None:
    llamas(golden)
    outcome = golden.asked("health", "Llama@e96")
    assert (outcome.code, differences(example("health-ambiguous"), outcome.document())) == (1, [])


def test_a_pattern_that_matches_several_models_is_a_filter(golden: GoldenMachine) -> None:
    llamas(golden)
    answer: dict[str, Any] = golden.ask("health", "Llama")
    assert [entry["name"] for entry in answer["data"]["healthy"]] == list(LLAMAS)
    assert answer["data"]["summary"] == {"total": 2, "healthy_count": 2, "unhealthy_count": 0}


def test_the_summary_counts_every_model_once(golden: GoldenMachine) -> None:
    golden.models_of_the_list()
    data = golden.ask("health")["data"]
    assert data["summary"] == {"total": 5, "healthy_count": 4, "unhealthy_count": 1}
    assert len(data["healthy"]) == 4
    assert [entry["name"] for entry in data["unhealthy"]] == ["corrupted/incomplete-download"]


def test_a_workspace_path(golden: GoldenMachine) -> None:
    folder = write_workspace(golden.machine.root / "ws", without(chat_files(), "tokenizer.json"))
    (entry,) = golden.ask("health", str(folder))["data"]["unhealthy"]
    assert (entry["name"], entry["reason"]) == (str(folder), "tokenizer missing")


@pytest.mark.parametrize("words", [("version",), ("--version",)], ids=str)
def test_the_version(golden: GoldenMachine, words: tuple[str, ...]) -> None:
    expected, answer = example("version"), golden.ask(*words)
    memory = answer["data"]["system"]["memory_total_bytes"]
    assert memory > 2**28
    expected["data"] = {
        "cli_version": mlxknife.__version__,
        "json_api_spec_version": "1.0.0",
        "system": {"memory_total_bytes": memory},
    }
    assert answer == expected
    assert answer.keys() == example("version").keys()
    assert answer["data"].keys() == example("version")["data"].keys()


def test_a_workspace_says_whether_mlxk_made_it(golden: GoldenMachine) -> None:
    golden.cache.model("org/cached")
    golden.machine.workspace("foreign")
    (golden.machine.workspace("ours") / ".mlxk_workspace.json").write_text('{"managed": true}')
    data = golden.ask("health", "--verify")["data"]
    managed = {one["name"]: one.get("managed") for one in data["healthy"]}
    assert managed == {"foreign": False, "org/cached": None, "ours": True}


def test_the_version_as_text(golden: GoldenMachine) -> None:
    assert golden.machine.run("--version").out == f"mlxk {mlxknife.__version__}\n"
