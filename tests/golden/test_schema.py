"""The schema in docs/ equals the generated one, accepts right documents and refuses wrong ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from mlxknife.cli.arguments import COMMANDS, json_name
from mlxknife.cli.schema import DATA_TYPES, json_schema
from tests.golden.examples import SCHEMA, validator
from tests.golden.machine import GoldenMachine, phi3_files

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"

Answer = dict[str, Any]


def test_every_command_has_a_data_type() -> None:
    assert set(DATA_TYPES) == set(map(json_name, COMMANDS))


def test_the_file_equals_the_generated_schema() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema(), "run: make schema"
    assert SCHEMA.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n", "run: make schema"


COMMAND_LINES = (
    ("list",),
    ("show", PHI),
    ("show", PHI, "--files"),
    ("show", PHI, "--config"),
    ("show", PHI, "--files", "--config"),
    ("health",),
    ("version",),
    ("show", "nothing"),
    ("show", "mlx"),
    ("show", f"{PHI}@fff"),
    ("nonsense",),
    ("list", "--nonsense"),
)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_document_is_valid(golden: GoldenMachine, words: tuple[str, ...]) -> None:
    golden.cache.model(PHI, phi3_files())
    golden.cache.model("mlx-community/other")
    golden.machine.workspace("mine")
    answer = golden.machine.run(*words, "--json").document()
    assert [error.message for error in validator().iter_errors(answer)] == []


MODEL: Answer = {
    "name": "org/model",
    "hash": "a" * 40,
    "size_bytes": 1,
    "last_modified": "2024-10-15T08:23:41Z",
    "framework": "MLX",
    "model_type": "chat",
    "capabilities": ["text-generation", "chat"],
    "health": "healthy",
    "runtime_compatible": True,
    "reason": None,
    "cached": True,
    "integrity": "structural",
    "quantization": {"bits": 4, "group_size": 64, "mode": "affine"},
    "context_length": 4096,
    "origin": None,
}
LIST: Answer = {
    "status": "success",
    "command": "list",
    "data": {"models": [MODEL], "count": 1, "system": {"memory_total_bytes": 2**34}},
    "error": None,
}
HEALTH: Answer = {
    "status": "success",
    "command": "health",
    "data": {
        "healthy": [
            {"name": "org/model", "status": "healthy", "reason": "Model is healthy", "integrity": "structural"}
        ],
        "unhealthy": [],
        "summary": {"total": 1, "healthy_count": 1, "unhealthy_count": 0},
    },
    "error": None,
}
ERROR: Answer = {
    "status": "error",
    "command": None,
    "data": None,
    "error": {"type": "ValidationError", "message": "no command given", "hint": "See mlxk --help"},
}


@pytest.mark.parametrize("answer", [LIST, HEALTH, ERROR], ids=["list", "health", "error"])
def test_the_unchanged_documents_are_valid(answer: Answer) -> None:
    assert validator().is_valid(answer)


def without(*path: str | int) -> Callable[[Answer], None]:
    def change(answer: Any) -> None:  # noqa: ANN401 - JSON
        for step in path[:-1]:
            answer = answer[step]
        del answer[path[-1]]

    return change


def changed(value: object, *path: str | int) -> Callable[[Answer], None]:
    def change(answer: Any) -> None:  # noqa: ANN401 - JSON
        for step in path[:-1]:
            answer = answer[step]
        answer[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        *((LIST, without("data", "models", 0, field)) for field in MODEL),
        *((LIST, without(field)) for field in LIST),
        *((ERROR, without(field)) for field in ERROR),
        (LIST, changed("ok", "status")),
        (LIST, changed("error", "status")),
        (LIST, changed("health", "command")),
        (LIST, changed(None, "command")),
        (LIST, changed({"type": "x", "message": "y"}, "error")),
        (LIST, changed("0.1.7", "spec")),
        (LIST, changed(None, "data")),
        (LIST, without("data", "count")),
        (LIST, changed("12", "data", "models", 0, "size_bytes")),
        (LIST, changed("Mlx", "data", "models", 0, "framework")),
        (LIST, changed("well", "data", "models", 0, "health")),
        (LIST, changed("fine", "data", "models", 0, "integrity")),
        (LIST, changed("yes", "data", "models", 0, "cached")),
        (LIST, changed("chat", "data", "models", 0, "capabilities")),
        (LIST, changed("4bit", "data", "models", 0, "quantization")),
        (HEALTH, changed("maybe", "data", "healthy", 0, "status")),
        (HEALTH, without("data", "healthy", 0, "integrity")),
        (HEALTH, without("data", "summary")),
        (HEALTH, changed(None, "data", "unhealthy")),
        (ERROR, changed("nonsense", "command")),
        (ERROR, without("error", "type")),
        (ERROR, without("error", "message")),
        (ERROR, changed(None, "error")),
        (ERROR, changed("org/model", "error", "matches")),
    ],
)
def test_changed_documents_are_invalid(answer: Answer, change: Callable[[Answer], None]) -> None:
    changed_answer = copy.deepcopy(answer)
    change(changed_answer)
    assert not validator().is_valid(changed_answer)
