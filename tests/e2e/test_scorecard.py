"""The scorecard: a stress test is printed and stored, also if it fails; a run of one part keeps the other rows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scorecard import RESULTS, add, merged, page

ROOT = RESULTS.parents[1]
SOURCE = """
import pytest

@pytest.mark.parametrize("count", [1, pytest.param(9, marks=pytest.mark.stress(part="kills"))])
def test_counts(scorecard, count):
    print("rounds from", scorecard.seed)
    scorecard.record(counts={"killed": count}, figures={"a|b": "1.2 %"})

@pytest.mark.stress(part="links")
def test_fails(scorecard):
    scorecard.record(seed=5)
    assert scorecard.part == ""

@pytest.mark.stress(part="links")
def test_plain(): pass

@pytest.mark.stress(part="links")
def test_skipped():
    pytest.skip("no tool")
"""


def ran(folder: Path, *words: str, **variables: str) -> str:
    """Run pytest on a file of its own; return its output."""
    (folder / "test_it.py").write_text(SOURCE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    environment = {**os.environ, "MLXK_SCORECARD": str(folder / "results"), "PYTHONPATH": str(ROOT), **variables}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [*command, "-p", "tests.scorecard", "-W", "ignore", str(folder), *words],
        env=environment, cwd=folder, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


def stored(folder: Path) -> tuple[Any, str]:
    (document,) = (folder / "results").glob("scorecard-*.json")
    return json.loads(document.read_bytes())["parts"], document.with_suffix(".md").read_text()


def without_times(text: str) -> str:
    """Return the text with 0.0 for all seconds: a busy machine takes longer."""
    return re.sub(r"\b\d+\.\d s\b", "0.0 s", text)


def without_seconds(tests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {test: {name: value for name, value in row.items() if name != "seconds"} for test, row in tests.items()}


def test_a_part_alone_replaces_its_rows_and_keeps_the_others(tmp_path: Path) -> None:
    printed = ran(tmp_path, "-m", "stress", MLXK_TEST_SEED="1234")
    assert "MLXK_TEST_SEED=1234 test_it.py::test_counts[9]\n" in printed
    assert "scorecard: kills: test_it.py::test_counts[9], passed, 1234, killed 9, a|b 1.2 %, 0.0 s\n" in without_times(
        printed
    )
    kills = {
        "test_it.py::test_counts[9]": {
            "result": "passed",
            "seed": 1234,
            "counts": {"killed": 9},
            "figures": {"a|b": "1.2 %"},
        }
    }
    links = {
        "test_it.py::test_fails": {"result": "failed", "seed": 5},
        "test_it.py::test_plain": {"result": "passed"},
        "test_it.py::test_skipped": {"result": "skipped: no tool"},
    }
    parts, table = stored(tmp_path)
    assert {part: without_seconds(tests) for part, tests in parts.items()} == {"kills": kills, "links": links}
    assert "| kills | test_it.py::test_counts[9] | passed | 1234 | killed 9 | a/b 1.2 % | 0.0 s |\n" in without_times(
        table
    )
    assert "| links | 1 without counts | skipped: no tool |  |  |  | 0.0 s |\n" in without_times(table)
    printed = ran(tmp_path, "-m", 'stress(part="kills")')
    assert "3 passed" not in printed
    parts, _ = stored(tmp_path)
    assert without_seconds(parts["links"]) == links
    assert parts["kills"]["test_it.py::test_counts[9]"]["seed"] != 1234


def test_a_test_that_is_no_stress_test_stores_nothing(tmp_path: Path) -> None:
    printed = ran(tmp_path, "-m", "not stress", MLXK_TEST_SEED="1234")
    assert "1 passed" in printed
    assert "1234" not in printed
    assert not (tmp_path / "results").exists()


_PARTS = st.dictionaries(
    st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.just({"result": "passed", "seconds": 1.0}))
)


@given(_PARTS, _PARTS)
def test_merging_loses_no_row_and_the_page_has_every_part(parts: Any, others: Any) -> None:  # noqa: ANN401
    both = merged(parts, others)
    rows = {(part, test) for part in both for test in both[part]}
    assert rows == {(part, test) for one in (parts, others) for part in one for test in one[part]}
    assert merged(both, others) == both
    text = page({"date": "2026-01-01", "machine": "x", "parts": both})
    assert {line.split(" | ")[0] for line in text.splitlines() if "without counts" in line} == {
        f"| {part}" for part, _ in rows
    }


def test_the_rows_of_another_document_are_added_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXK_SCORECARD", str(tmp_path / "results"))
    row = {"result": "passed", "seconds": 2.0}
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"date": "2026-01-01", "machine": "x", "parts": {"kills": {"test": row}}}))
    add([str(other)])
    add([str(other)])
    assert stored(tmp_path)[0] == {"kills": {"test": row}}
