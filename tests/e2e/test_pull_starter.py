"""``pull starter`` with options for Hub models: the error names them, with an alternative."""

from __future__ import annotations

import pytest

from tests.e2e.processes import Machine

_REMOVE = "mlxk pull starter mends a damaged one; for a new one in the place of a sound one, first: mlxk rm starter"
_HUB = "For a model of the Hub write ORG/starter"


@pytest.mark.parametrize(
    ("words", "named", "hint"),
    [
        (("--force",), "--force does", _REMOVE),
        (("--force", "--dry-run"), "--force does", _REMOVE),
        (("--revision", "main"), "--revision does", _HUB),
        (("--include", "*.json", "--exclude", "*.md"), "--include, --exclude do", _HUB),
        (("--revision", "main", "--force"), "--revision, --force do", _HUB),
    ],
)
def test_an_option_for_hub_models_is_named(machine: Machine, words: tuple[str, ...], named: str, hint: str) -> None:
    outcome = machine.run("pull", "starter", *words)
    assert (outcome.code, outcome.out) == (1, "")
    message = f"{named} not apply to 'starter', which comes as a whole from the package index"
    assert outcome.err.splitlines() == [f"error: {message}", f"hint: {hint}"]
    document = machine.run("pull", "starter", *words, "--json").document()
    assert document["error"] == {"type": "ValidationError", "message": message, "hint": hint}
