"""The two commands of the README. Its sessions and programs are run by ``test_docs.py``."""

from __future__ import annotations

import subprocess

from tests.e2e.pages import README, ROOT
from tests.shared import wheels_in_use


def test_the_first_command_of_the_readme_works() -> None:
    assert "make demo" in README.read_text(encoding="utf-8")
    with wheels_in_use():
        done = subprocess.run(["make", "-s", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "$ mlxk run starter 'What is the capital of France?'\nThe capital of France is Paris.\n" in done.stdout
    assert "$ mlxk health" in done.stdout
    assert "10 models, 8 healthy, 2 unhealthy" in done.stdout
