"""``--json``: exactly one JSON document on stdout, for every result and every error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder import chat_files, commit_of
from tests.e2e.processes import Machine

ENVELOPE = ["status", "command", "data", "error"]


@pytest.fixture
def filled(machine: Machine) -> Machine:
    machine.cache.model("org/model")
    machine.cache.model("org/other-model", commit="abc1" + commit_of("1")[4:])
    machine.cache.model("org/other-model", commit="abc2" + commit_of("2")[4:])
    machine.workspace("mine")
    return machine


SUCCESSES = (
    ["list", "--json"],
    ["--json", "list"],
    ["--json", "list", "--json"],
    ["list", "mod", "--json"],
    ["list", "--json", "mod"],
    ["list", "--all", "--verbose", "--health", "--json"],
    ["list", "no such model", "--json"],
    ["show", "org/model", "--json"],
    ["--json", "show", "org/model"],
    ["show", "--json", "org/model", "--files", "--config"],
    ["show", "mine", "--json"],
    ["health", "--json"],
    ["health", "model", "--json"],
    ["--json", "health", "--strict"],
    ["version", "--json"],
    ["--json", "version"],
    ["--version", "--json"],
    ["--json", "--version"],
)


@pytest.mark.parametrize("words", SUCCESSES, ids=" ".join)
def test_a_command_that_works_gives_one_document(filled: Machine, words: list[str]) -> None:
    outcome = filled.run(*words)
    document = outcome.document()
    assert (outcome.code, outcome.err) == (0, "")
    assert list(document) == ENVELOPE
    assert (document["status"], document["error"]) == ("success", None)
    named = next((word for word in words if not word.startswith("-")), "version")
    assert document["command"] == named


FAILURES = (
    (["--json"], None, "ValidationError"),
    (["--json", "--no-such-option"], None, "ValidationError"),
    (["--no-such-option", "--json"], None, "ValidationError"),
    (["nonsense", "--json"], None, "ValidationError"),
    (["--json", "nonsense", "word"], None, "ValidationError"),
    (["--jso", "list", "--json"], None, "ValidationError"),
    (["list", "--no-such-option", "--json"], "list", "ValidationError"),
    (["--json", "list", "one", "two"], "list", "ValidationError"),
    (["show", "--json"], "show", "ValidationError"),
    (["--json", "show"], "show", "ValidationError"),
    (["show", "a", "b", "--json"], "show", "ValidationError"),
    (["health", "--strict=yes", "--json"], "health", "ValidationError"),
    (["version", "extra", "--json"], "version", "ValidationError"),
    (["show", "a/../b", "--json"], "show", "ValidationError"),
    (["show", "x" * 97, "--json"], "show", "ValidationError"),
    (["show", "", "--json"], "show", "ValidationError"),
    (["show", "nothing-like-it", "--json"], "show", "model_not_found"),
    (["show", "org/", "--json"], "show", "ValidationError"),
    (["show", "./nothing", "--json"], "show", "model_not_found"),
    (["show", "org", "--json"], "show", "ambiguous_match"),
    (["show", "org/other-model@abc", "--json"], "show", "ambiguous_match"),
    (["show", "org/model@fff", "--json"], "show", "model_not_found"),
    (["health", "nothing-like-it", "--json"], "health", "model_not_found"),
    (["health", "org@abc", "--json"], "health", "ambiguous_match"),
    (["health", "\x1b[31m", "--json"], "health", "ValidationError"),
)


@pytest.mark.parametrize(("words", "command", "error_type"), FAILURES, ids=lambda value: ascii(value)[:60])
def test_a_command_that_fails_gives_one_document(
    filled: Machine, words: list[str], command: str | None, error_type: str
) -> None:
    outcome = filled.run(*words)
    error = outcome.error()
    assert (outcome.code, outcome.err) == (1, "")
    assert list(outcome.document()) == ENVELOPE
    assert (outcome.document()["command"], error["type"]) == (command, error_type)
    assert error["message"]


def test_json_after_two_dashes_is_an_argument(filled: Machine) -> None:
    outcome = filled.run("list", "--", "--json")
    assert (outcome.code, outcome.out) == (0, "No models found matching '--json'.\n")


def test_errors_carry_matches_hashes_suggestions_and_hints(filled: Machine) -> None:
    assert filled.run("show", "org", "--json").error()["matches"] == ["org/model", "org/other-model"]
    revisions = filled.run("show", "org/other-model@abc", "--json").error()["available_hashes"]
    assert revisions == ["abc1" + commit_of("1")[4:], "abc2" + commit_of("2")[4:]]
    suggestions = filled.run("show", "org/modle", "--json").error()["suggestions"]
    assert isinstance(suggestions, list)
    assert suggestions[0] == "org/model"
    assert filled.run("lsit", "--json").error()["hint"] == "Did you mean mlxk list?"


def test_a_missing_cache_is_an_empty_cache(machine: Machine) -> None:
    data = machine.run("list", "--json").data()
    assert (data["models"], data["count"]) == ([], 0)
    summary = machine.run("health", "--json").data()["summary"]
    assert summary == {"total": 0, "healthy_count": 0, "unhealthy_count": 0}


def test_a_config_with_nan_and_infinity_still_gives_json(machine: Machine) -> None:
    config = chat_files()["config.json"][:-1] + b', "scale": NaN, "high": Infinity, "low": -Infinity}'
    machine.cache.model("org/model", chat_files() | {"config.json": config})
    config_shown = machine.run("show", "org/model", "--config", "--json").data()["config"]
    assert isinstance(config_shown, dict)
    assert config_shown["model_type"] == "llama"


def test_a_file_name_that_is_not_utf8_still_gives_json(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    (built.snapshot / "caf\udce9 \x1b[31m.txt").write_bytes(b"x")
    outcome = machine.run("show", "org/model", "--files", "--json")
    assert outcome.out.isascii()
    assert "\x1b" not in outcome.out
    assert len(outcome.data()["files"]) == len(chat_files()) + 1  # type: ignore[arg-type]


def test_a_wrong_setting_gives_one_document(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for command in ("list", "health"):
        outcome = machine.run(command, "--json", environment=machine.environment(HF_HUB_CACHE=str(tmp_path / "file")))
        assert (outcome.code, outcome.err) == (3, "")
        assert outcome.error()["type"] == "FilesystemError"
        assert outcome.document()["command"] == command
