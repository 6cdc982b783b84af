"""The map from seed 2 to the tests names tests that exist, and every example of the seed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAP = TESTS.parent / "docs" / "seed-2-map.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_map_names_exists() -> None:
    named = NAMED.findall(MAP.read_text(encoding="utf-8"))
    assert len(named) > 60
    assert [f"{file}::{test}" for file, test in named if test not in functions(file)] == []


def test_every_statement_is_mapped() -> None:
    rows = [line for line in MAP.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    unmapped = [row for row in rows if not NAMED.search(row) and "Shown by" not in row]
    assert unmapped == []


def test_every_example_is_used() -> None:
    golden = TESTS / "golden"
    text = "".join(path.read_text(encoding="utf-8") for path in golden.glob("*.py"))
    examples = sorted(path.stem for path in (golden / "seed2").glob("*.json"))
    assert len(examples) == 24
    assert [name for name in examples if f'"{name}"' not in text] == []
