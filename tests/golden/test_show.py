"""The examples of seed 2 for ``show``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builder import TOKENIZER, chat_files, write_workspace
from tests.golden.examples import differences, example
from tests.golden.machine import GoldenMachine, padded, phi3_files, sparse_weights

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
LLAMAS = ("mlx-community/Llama-3.2-1B-Instruct-4bit", "mlx-community/Llama-3.2-3B-Instruct-4bit")


@pytest.mark.parametrize("spec", [PHI, "Phi-3-mini-4k-instruct-4bit", "Phi-3-mini", "phi-3", "Phi-3-mini@a53"])
def test_the_basic_information(golden: GoldenMachine, spec: str) -> None:
    expected = example("show")
    golden.build(expected["data"]["model"], phi3_files())
    answer = golden.ask("show", spec)
    assert differences(expected, answer) == []
    assert "files" not in answer["data"]
    assert "config" not in answer["data"]


def test_the_files(golden: GoldenMachine) -> None:
    expected = example("show-files")
    built = golden.build(expected["data"]["model"], files_of_the_example())
    for name, size in WEIGHTS.items():
        sparse_weights(built.blob(name), size)
    answer = golden.ask("show", PHI, "--files")
    expected["data"]["model"]["size_bytes"] = sum(file["size_bytes"] for file in answer["data"]["files"])
    assert differences(expected, answer) == []
    assert answer["data"]["metadata"] is None


WEIGHTS = {
    "model.safetensors": 2_300_000_000,
    "model-00001-of-00002.safetensors": 1_800_000_000,
    "model-00002-of-00002.safetensors": 200_000_000,
}


def files_of_the_example() -> dict[str, bytes]:
    config = example("show-config")["data"]["config"]
    return {name: name.encode() for name in WEIGHTS} | {
        "config.json": padded(config, 1_200),
        "tokenizer.json": padded(json.loads(TOKENIZER), 2_100_000),
        "tokenizer_config.json": padded({"chat_template": "x"}, 3_400),
        "special_tokens_map.json": padded({}, 588),
    }


def test_the_config(golden: GoldenMachine) -> None:
    expected = example("show-config")
    golden.build(expected["data"]["model"], phi3_files())
    answer = golden.ask("show", PHI, "--config")
    assert differences(expected, answer) == []
    assert answer["data"]["config"] == expected["data"]["config"]


def test_the_files_and_the_config_together(golden: GoldenMachine) -> None:
    golden.build(example("show")["data"]["model"], phi3_files())
    data = golden.ask("show", PHI, "--files", "--config")["data"]
    assert data["config"] == example("show-config")["data"]["config"]
    assert {file["name"] for file in data["files"]} == phi3_files().keys()
    assert data["metadata"] is None


def test_a_hash_chooses_between_models(golden: GoldenMachine) -> None:
    for name, commit in (("org/Qwen3-4B", "e96" + "0" * 37), ("org/Qwen3-8B", "f" * 40)):
        golden.cache.model(name, commit=commit)
    assert golden.ask("show", "Qwen3@e96")["data"]["model"]["name"] == "org/Qwen3-4B"
    assert [one["name"] for one in golden.ask("health", "Qwen3@fff")["data"]["healthy"]] == ["org/Qwen3-8B"]


def test_the_metadata_names_the_first_class(golden: GoldenMachine) -> None:
    golden.cache.model("org/one", chat_files(architectures=["LlamaForCausalLM", "Other"]))
    golden.cache.model("org/two", chat_files(architectures=[None, 3]))
    shown = [golden.ask("show", name)["data"]["metadata"]["architecture"] for name in ("one", "two")]
    assert shown == ["LlamaForCausalLM", None]


def workspace_of(golden: GoldenMachine, expected: dict[str, Any]) -> str:
    folder = write_workspace(golden.machine.root / "my-workspace", chat_files())
    golden.fit(folder, expected["data"]["model"], folder / "model.safetensors")
    expected["data"]["model"]["name"] = str(folder)
    return str(folder)


def test_the_workspace_by_its_path(golden: GoldenMachine) -> None:
    expected = example("show-workspace")
    path = workspace_of(golden, expected)
    assert differences(expected, golden.ask("show", path)) == []
    assert differences(expected, golden.ask("show", "./my-workspace")) == []


def test_a_name_without_a_model(golden: GoldenMachine) -> None:
    outcome = golden.asked("show", "nonexistent-model")
    assert (outcome.code, differences(example("show-not-found"), outcome.document())) == (1, [])


def test_a_name_of_several_models(golden: GoldenMachine) -> None:
    for name in LLAMAS:
        golden.cache.model(name)
    outcome = golden.asked("show", "Llama")
    assert (outcome.code, differences(example("show-ambiguous"), outcome.document())) == (1, [])
