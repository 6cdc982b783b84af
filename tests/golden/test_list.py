"""The examples of seed 2 for ``list``, and its four snippets about health and compatibility."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import mlxknife
from mlxknife.adapters.packages.inventory import InstalledPackages
from mlxknife.cli.render.model_json import utc
from mlxknife.domain.catalog.services.catalog import Catalog
from tests.builder import chat_files, vision_files
from tests.golden.examples import differences, example
from tests.golden.machine import GoldenMachine

UPGRADE = "; upgrade with: pip install -U mlx-lm"


def models_of(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in answer["data"]["models"]}


def test_the_list_of_every_kind_of_model(golden: GoldenMachine) -> None:
    expected = example("list")
    expected["data"]["count"] = len(expected["data"]["models"])  # the seed counts 12 and prints 5
    for model in expected["data"]["models"]:
        if "qwen3_next" in (model["reason"] or ""):
            model["reason"] += UPGRADE  # PRODUCT.md 3: and how to upgrade
    golden.models_of_the_list()
    answer = golden.ask("list")
    assert differences(expected, answer) == []
    integrity = {name: model["integrity"] for name, model in models_of(answer).items()}
    assert integrity.pop("corrupted/incomplete-download") == "incomplete"
    assert set(integrity.values()) == {"structural"}


def test_the_fields_are_in_the_order_of_the_seed(golden: GoldenMachine) -> None:
    golden.models_of_the_list()
    answer = golden.ask("list")
    expected = example("list")
    assert list(answer) == list(expected)
    assert list(answer["data"]) == [*expected["data"], "system"]
    first = expected["data"]["models"][0]
    assert list(answer["data"]["models"][0])[: len(first)] == list(first)


def test_an_empty_cache(golden: GoldenMachine) -> None:
    assert differences(example("list-empty"), golden.ask("list")) == []


def test_the_list_names_the_memory_and_the_folders_of_workspaces(golden: GoldenMachine) -> None:
    golden.cache.model("org/twin")
    golden.machine.workspace("mine")
    golden.machine.workspace("org")
    data = golden.ask("list")["data"]
    assert data["system"] == golden.ask("version")["data"]["system"]
    assert {one["name"]: one.get("display_name") for one in data["models"]} == {
        "mine": "mine",
        "org": "org",
        "org/twin": None,
    }


def test_the_vision_model(golden: GoldenMachine) -> None:
    expected = example("list-vision")
    files = vision_files() | {"config.json": chat_files(model_type="llava", vision_config={"depth": 2})["config.json"]}
    golden.build(expected["data"]["models"][0], files)
    assert differences(expected, golden.ask("list")) == []


def test_a_pattern_matches_a_part_of_the_name_in_any_case(golden: GoldenMachine) -> None:
    golden.models_of_the_list()
    assert models_of(golden.ask("list", "mlx-community")).keys() == {
        "mlx-community/Phi-3-mini-4k-instruct-4bit",
        "mlx-community/mxbai-embed-large-v1",
        "mlx-community/Qwen3-Next-80B-A3B-Instruct-4bit",
    }
    assert models_of(golden.ask("list", "TINYLLAMA")).keys() == {"TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"}
    assert golden.ask("list", "Llama")["data"]["count"] == 1


@pytest.mark.parametrize(
    ("snippet", "name"),
    [
        ("snippet-healthy", "mlx-community/Phi-3-mini-4k-instruct-4bit"),
        ("snippet-gguf", "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"),
        ("snippet-architecture", "mlx-community/Qwen3-Next-80B-A3B-Instruct-4bit"),
        ("snippet-incomplete", "corrupted/incomplete-download"),
    ],
)
def test_the_scenarios_of_health_and_compatibility(golden: GoldenMachine, snippet: str, name: str) -> None:
    golden.models_of_the_list()
    model = models_of(golden.ask("list"))[name]
    found = {key: model[key] for key in ("health", "runtime_compatible", "reason")}
    if found["reason"]:
        found["reason"] = found["reason"].removesuffix(UPGRADE)
    assert found == example(snippet)


def catalog_with_old_packages(golden: GoldenMachine) -> Catalog:
    app = mlxknife.open_app(hub_cache=golden.machine.hub, workspace_home=golden.machine.home, environment={})
    return attrs.evolve(app.catalog, inventory=InstalledPackages(folders=(str(golden.packages),)))


def test_the_library_gives_the_same_reason_for_an_architecture_that_is_too_new(golden: GoldenMachine) -> None:
    golden.models_of_the_list()
    answered = models_of(golden.ask("list"))
    for info in catalog_with_old_packages(golden).list():
        assert (info.runtime_compatible, info.reason) == (
            answered[info.name]["runtime_compatible"],
            answered[info.name]["reason"],
        )


def test_without_a_backend_nothing_runs_and_nothing_crashes(golden: GoldenMachine) -> None:
    (golden.packages / "mlx" / "lib" / "libmlx.so").unlink()
    golden.models_of_the_list()
    model = models_of(golden.ask("list"))["mlx-community/Phi-3-mini-4k-instruct-4bit"]
    assert (model["health"], model["runtime_compatible"]) == ("healthy", False)
    assert "No MLX backend installed" in model["reason"]


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1728980621.9, "2024-10-15T08:23:41Z"), (-1, "1969-12-31T23:59:59Z")],
)
def test_dates_are_iso_8601_in_utc(timestamp: float, text: str) -> None:
    assert utc(timestamp) == text


@pytest.mark.parametrize("timestamp", [2.0**40, 2.0**60, -(2.0**40), -(2.0**60)])
def test_a_date_outside_the_supported_years_is_no_crash(timestamp: float) -> None:
    """A file on tmpfs or btrfs can have such a date: ``touch -d @1152921504606846976``."""
    assert utc(timestamp).endswith("Z")
