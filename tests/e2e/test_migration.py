"""The rows of MIGRATION.md about exit codes, errors and removal, as commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.builder import chat_files
from tests.e2e.processes import Machine

RULES = set(re.findall(r"^\| `([a-z-]+)` \|", (Path(__file__).parents[2] / "MIGRATION.md").read_text(), re.MULTILINE))
ROWS = (
    ("usage-exit", "list --nope", 1, None),
    ("usage-type", "list --nope --json", 1, ("list", "ValidationError")),
    ("usage-type", "nonsense --json", 1, (None, "ValidationError")),
    ("no-command", "", 0, None),
    ("no-command", "--json", 1, (None, "ValidationError")),
    ("offline-exit", "pull org/not-there --json", 2, ("pull", "NetworkError")),
    ("health-no-match", "health nothing-like-it --json", 1, ("health", "model_not_found")),
    ("health-pattern", "health tiny --json", 0, ("health", None)),
    ("run-errors", "run nothing-like-it hi --json", 1, ("run", "model_not_found")),
    ("run-missing", "run nothing-like-it hi --no-pull --json", 1, ("run", "model_not_found")),
    ("pull-names", "pull a/../b --json", 1, ("pull", "ValidationError")),
    ("rm-fuzzy", "rm tiny-ch --json", 1, ("rm", "confirmation_required")),
    ("rm-last-part", "rm tiny-chat --json", 0, ("rm", None)),
    ("rm-workspaces", "rm mine --json", 1, ("rm", "confirmation_required")),
    ("rm-workspaces", "rm mine --force --json", 0, ("rm", None)),
    ("system-everywhere", "version --json", 0, ("version", None)),
)


@pytest.mark.parametrize(
    ("rule", "line", "code", "said"), ROWS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_row_is_true(
    machine: Machine, rule: str, line: str, code: int, said: tuple[str | None, str | None] | None
) -> None:
    assert rule in RULES
    machine.cache.model("org/tiny-chat", chat_files())
    machine.cache.model("org/tiny-other", chat_files())
    machine.workspace("mine")
    outcome = machine.run(*shlex.split(line), environment=machine.environment(HF_HUB_OFFLINE="1"))
    assert outcome.code == code
    if said is not None:
        document = outcome.document()
        error = document["error"]
        assert (document["command"], error["type"] if isinstance(error, dict) else None) == said


def test_removing_a_revision_keeps_the_others(machine: Machine) -> None:
    assert "rm-revision" in RULES
    old = machine.cache.model("org/two", commit="a" * 40, ref=None)
    new = machine.cache.model("org/two", commit="b" * 40)
    assert machine.run("rm", "org/two@aaaa").code == 0
    assert (old.snapshot.exists(), new.snapshot.exists()) == (False, True)
