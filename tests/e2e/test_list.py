"""``mlxk list`` for people: the filters and columns of seed 1, and a count of what they hide."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

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
    """Return the header, the rows by name, and what follows them."""
    lines = machine.run("list", *words).out.splitlines()
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines if " | " in line]
    assert set(lines[1]) == set("-+")
    return cells[0], {row[0]: row for row in cells[1:]}, [line for line in lines[2:] if " | " not in line]


def test_by_default_only_mlx_chat_models_are_shown_and_the_rest_is_counted(zoo: Machine) -> None:
    header, rows, rest = table(zoo)
    assert header == ["Name", "Hash", "Size", "Modified", "Type"]
    assert rows.keys() == {"Llama-3.2-3B-Instruct", "org/own-chat", "org/broken-chat", "experiment"}
    assert rest == ["4 more: --all"]


def test_verbose_shows_all_mlx_models_with_full_names_and_framework(zoo: Machine) -> None:
    header, rows, rest = table(zoo, "--verbose")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert rows.keys() == {
        "mlx-community/Llama-3.2-3B-Instruct", "mlx-community/plain-base", "org/own-chat", "org/broken-chat",
        "experiment",
    }  # fmt: skip
    assert {row[4] for row in rows.values()} == {"MLX"}
    assert rows["mlx-community/plain-base"][5] == "base"
    assert rest == ["3 more: --all"]


def test_all_shows_every_framework(zoo: Machine) -> None:
    header, rows, rest = table(zoo, "--all")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert len(rows) == 8
    assert {name: row[4] for name, row in rows.items() if row[4] != "MLX"} == {
        "org/gguf-Chat": "GGUF",
        "org/torch-chat": "PyTorch",
        "org/sentences": "PyTorch",
    }
    assert rest == []


def test_all_and_verbose_together(zoo: Machine) -> None:
    header, rows, _ = table(zoo, "--all", "--verbose")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert len(rows) == 8
    assert "mlx-community/plain-base" in rows


def test_health_in_one_word(zoo: Machine) -> None:
    header, rows, _ = table(zoo, "--health")
    assert header == ["Name", "Hash", "Size", "Modified", "Type", "Health"]
    assert (rows["org/own-chat"][-1], rows["org/broken-chat"][-1]) == ("healthy", "unhealthy")
    header, rows, _ = table(zoo, "--all", "--health")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type", "Health"]
    assert rows["org/gguf-Chat"][-1] == rows["org/torch-chat"][-1] == "healthy*"


def test_health_in_three_columns(zoo: Machine) -> None:
    header, rows, _ = table(zoo, "--verbose", "--health", "--all")
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type", "Health", "Runtime", "Reason"]
    assert rows["org/own-chat"][-3:] == ["healthy", "yes", "-"]
    assert rows["org/broken-chat"][-3:] == ["unhealthy", "-", "no weight files"]
    assert rows["org/torch-chat"][-3:] == [
        "healthy*", "no", "Framework PyTorch not executable with mlx-lm (requires MLX)",
    ]  # fmt: skip


def test_json_is_never_filtered_but_by_the_pattern(zoo: Machine) -> None:
    everything = zoo.run("list", "--json").names()
    assert len(everything) == 8
    for words in (["--all"], ["--verbose"], ["--health"], ["--all", "--verbose", "--health"]):
        assert zoo.run("list", "--json", *words).names() == everything
    assert zoo.run("list", "--json", "CHAT").names() == [name for name in everything if "chat" in name.lower()]
    assert zoo.run("list", "--json", "Org/").names() == [name for name in everything if name.startswith("org/")]


def test_a_pattern_counts_only_what_it_names(zoo: Machine) -> None:
    _, rows, rest = table(zoo, "org/")
    assert rows.keys() == {"org/own-chat", "org/broken-chat"}
    assert rest == ["3 more: --all"]


def test_the_cells(machine: Machine) -> None:
    weights = safetensors({"w": ("U8", (2_499_000,))})
    built = machine.cache.model(
        "mlx-community/big", chat_files() | {"model.safetensors": weights}, commit="a1b2c3d" * 5
    )
    aged(built.snapshot, days=2)
    _, rows, _ = table(machine)
    assert rows["big"] == ["big", "a1b2c3d", "2.5MB", "2d ago", "chat"]


@pytest.mark.parametrize(
    ("days", "text"), [(0, "just now"), (0.05, "1h ago"), (8, "1w ago"), (65, "2mo ago"), (800, "2y ago")]
)
def test_ages(machine: Machine, days: float, text: str) -> None:
    aged(machine.cache.model("mlx-community/old").snapshot, days=days)
    assert table(machine)[1]["old"][3] == text


def test_only_hidden_models_are_counted_too(machine: Machine) -> None:
    machine.cache.model("org/gguf", gguf_files())
    assert machine.run("list").out == "No MLX chat models found.\n1 more: --all\n"


def test_an_empty_cache_says_so_and_how_to_begin(machine: Machine) -> None:
    assert machine.run("list").out == "No models found.\nTo get a small model: mlxk pull starter\n"
    assert machine.run("list", "starter").out == "No models found.\n"


def test_a_starter_that_is_not_there_can_be_brought(machine: Machine) -> None:
    for words in (("show",), ("rm",), ("health",), ("run", "--temperature", "0"), ("serve", "--model")):
        outcome = machine.run(*words, "starter")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == "error: No model found matching 'starter'\nhint: Download it with: mlxk pull starter\n"


def test_a_short_name_that_means_something_else_stays_long(machine: Machine) -> None:
    machine.cache.model("mlx-community/gpt2")
    machine.cache.model("gpt2")
    assert table(machine)[1].keys() == {"mlx-community/gpt2", "gpt2"}


def test_every_shown_name_leads_to_its_model(zoo: Machine) -> None:
    for name, row in table(zoo, "--all")[1].items():
        shown = zoo.run("show", name, "--json").data()["model"]
        assert isinstance(shown, dict)
        assert (shown["hash"] or "-")[:7] == row[1]


def aged(folder: Path, *, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(folder, (then, then))


def test_what_is_damaged_is_counted_among_the_hidden(machine: Machine) -> None:
    machine.cache.model("mlx-community/good")
    (machine.cache.model("org/torn").snapshot / "config.json").unlink()
    assert machine.run("list").out.splitlines()[-1] == "1 more (1 unhealthy): --all"
