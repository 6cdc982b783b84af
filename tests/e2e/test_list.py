"""``mlxk list`` on a real cache: what the filters show and count. How the text looks: unit/test_catalog_text.py."""

from __future__ import annotations

import os
import time

import pytest

import mlxknife
from tests.builder import chat_files, embedding_files, gguf_files, pytorch_files, safetensors
from tests.e2e.processes import Machine

BASE = chat_files() | {"tokenizer_config.json": b"{}"}


@pytest.fixture
def zoo(machine: Machine) -> Machine:
    """Make one model of every kind."""
    machine.cache.model("mlx-community/Llama-3.2-3B-Instruct")
    machine.cache.model("mlx-community/plain-base", BASE)
    machine.cache.model("org/own-chat")
    machine.cache.model("org/gguf-Chat", gguf_files())
    machine.cache.model("org/torch-chat", pytorch_files())
    machine.cache.model("org/sentences", embedding_files())
    (machine.cache.model("org/broken-chat").snapshot / "model.safetensors").unlink()
    machine.workspace("experiment")
    return machine


def table(machine: Machine, *words: str) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Return the header, the rows by name, and the lines after the table."""
    lines = machine.run("list", *words).out.splitlines()
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines if " | " in line]
    assert set(lines[1]) == set("-+")
    return cells[0], {row[0]: row for row in cells[1:]}, [line for line in lines[2:] if " | " not in line]


def test_the_default_shows_mlx_chat_models_and_counts_the_others(zoo: Machine) -> None:
    header, rows, rest = table(zoo)
    assert header == ["Name", "Hash", "Size", "Modified", "Type"]
    assert rows.keys() == {"Llama-3.2-3B-Instruct", "org/own-chat", "org/broken-chat", "experiment"}
    assert rest == ["4 more: --all"]


def test_all_options_together_show_every_model_with_health_and_reason(zoo: Machine) -> None:
    header, rows, rest = table(zoo, "--verbose", "--health", "--all")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type", "Integrity", "Runtime", "Reason"]
    assert (len(rows), rest) == (8, [])
    assert rows["mlx-community/plain-base"][5] == "base"
    assert rows["org/own-chat"][-3:] == ["healthy", "yes", "-"]
    assert rows["org/broken-chat"][-3:] == ["unhealthy", "-", "no weight files"]
    assert rows["org/torch-chat"][-3:] == [
        "healthy", "no", "Framework PyTorch not executable with mlx-lm (requires MLX)",
    ]  # fmt: skip


def test_only_the_pattern_filters_json(zoo: Machine) -> None:
    everything = zoo.run("list", "--json").names()
    assert len(everything) == 8
    assert zoo.run("list", "--json", "--all", "--verbose", "--health").names() == everything
    assert zoo.run("list", "--json", "CHAT").names() == [name for name in everything if "chat" in name.lower()]
    assert zoo.run("list", "--json", "Org/").names() == [name for name in everything if name.startswith("org/")]


def test_a_pattern_also_limits_the_count_of_hidden_models(zoo: Machine) -> None:
    _, rows, rest = table(zoo, "org/")
    assert rows.keys() == {"org/own-chat", "org/broken-chat"}
    assert rest == ["3 more: --all"]


def test_hash_size_and_age_of_a_real_model(machine: Machine) -> None:
    weights = safetensors({"w": ("U8", (2_499_000,))})
    built = machine.cache.model(
        "mlx-community/big", chat_files() | {"model.safetensors": weights}, commit="a1b2c3d" * 5
    )
    then = time.time() - 2 * 86_400
    os.utime(built.snapshot, (then, then))
    assert table(machine)[1]["big"] == ["big", "a1b2c3d", "2.5MB", "2d ago", "chat"]


def test_a_missing_starter_model_gets_a_hint_how_to_pull_it(machine: Machine) -> None:
    assert machine.run("list").out == "No models found.\nTo get a small model: mlxk pull starter\n"
    for words in (("show",), ("rm",), ("health",), ("run", "--temperature", "0"), ("serve", "--model")):
        outcome = machine.run(*words, "starter")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == "error: No model found matching 'starter'\nhint: Download it with: mlxk pull starter\n"


def test_every_listed_name_resolves_to_its_model(zoo: Machine) -> None:
    catalog = mlxknife.open_app(hub_cache=zoo.hub, workspace_home=zoo.home, environment={}).catalog
    rows = table(zoo, "--all")[1]
    assert len(rows) == 8
    for name, row in rows.items():
        assert (catalog.show(name).info.commit or "-")[:7] == row[1]
