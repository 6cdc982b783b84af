"""The README stays true: its commands are run on the sample cache and their output is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sample_cache
from tests.shared import wheels_in_use

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def sessions() -> Iterator[tuple[str, str]]:
    for block in blocks("console"):
        command, _, output = block.removeprefix("$ ").partition("\n")
        yield command, output


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    sample_cache.build(tmp_path / "hub", tmp_path / "workspaces")
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "MLXK_WORKSPACE_HOME": str(tmp_path / "workspaces"),
    }


@pytest.mark.parametrize(("command", "output"), list(sessions()))
def test_a_session_prints_what_the_readme_shows(
    command: str, output: str, surroundings: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["bash", "-c", command], env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert _without_versions(done.stdout) == _without_versions(output)


def _without_versions(text: str) -> str:
    return re.sub(r"(mlx-lm|mlxk) \d+(\.\d+)+", r"\1 VERSION", text)


@pytest.mark.parametrize("program", blocks("python"))
def test_the_library_example_runs(program: str, surroundings: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "mlx-community/tiny-chat-4bit structural" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2048 ['README.md', 'config.json'")


def test_the_first_command_of_the_readme_works() -> None:
    assert "make demo" in README
    with wheels_in_use():
        done = subprocess.run(["make", "-s", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "$ mlxk run starter 'What is the capital of France?'\nThe capital of France is Paris.\n" in done.stdout
    assert "$ mlxk health" in done.stdout
    assert "10 models, 8 healthy, 2 unhealthy" in done.stdout


def test_every_linked_page_of_the_docs_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    missing = [
        f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()
    ]
    assert missing == []
    assert links
