"""docs/seed-map.md names a test or a decision for everything that the seeds state about what exists."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
GOLDEN = TESTS / "golden"
MAP = (DOCS / "seed-map.md").read_text(encoding="utf-8")
TERMS: dict[str, dict[str, list[str]]] = json.loads((GOLDEN / "seed-terms.json").read_text(encoding="utf-8"))
KINDS = [(seed, kind) for seed, kinds in TERMS.items() for kind in kinds]
SECTIONS = {"keys": "JSON keys", "variables": "Environment variables", "errors": "Error types"}
"""The headings of the map that are not the name of the kind of term."""
LATER = "Not there yet"

NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
DECISION = re.compile(r"\[ADR (\d{4})\]\((adr/[\w-]+\.md)\)")


@attrs.frozen
class Row:
    """One row of a table of the map."""

    heading: str
    statement: str
    seeds: frozenset[str]
    proof: str

    def names(self, term: str) -> bool:
        """Return whether the row is about a term, which is the name of an example or stands in backquotes."""
        if self.heading == "Examples":
            return any(part == term or part.startswith(f"{term}:") for part in self.statement.split(", "))
        return term in re.findall(r"`([^`]+)`", self.statement)


@cache
def rows() -> list[Row]:
    found, heading = list[Row](), ""
    for line in MAP.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if heading and len(cells) > 2 and not line.startswith("|--") and "Seeds" not in cells:
            found.append(Row(heading, cells[0], frozenset(cells[-2].split(", ")), cells[-1]))
    return found


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_test_that_the_map_names_exists() -> None:
    named = NAMED.findall(MAP)
    assert len(named) > 200
    missing = [f"{file}::{test}" for file, test in named if not (TESTS / file).is_file() or test not in functions(file)]
    assert missing == []


def test_every_decision_that_the_map_names_exists() -> None:
    named = DECISION.findall(MAP)
    assert len(named) > 3
    assert [path for number, path in named if not (DOCS / path).is_file() or f"/{number}-" not in path] == []


def test_every_statement_has_a_test_or_a_decision_and_a_seed() -> None:
    assert len(rows()) > 150
    assert [row for row in rows() if not (NAMED.search(row.proof) or DECISION.search(row.proof))] == []
    assert [row for row in rows() if not row.seeds <= TERMS.keys()] == []


@pytest.mark.parametrize(("seed", "kind"), KINDS, ids=lambda value: value)
def test_no_term_of_a_seed_is_missing(seed: str, kind: str) -> None:
    heading = SECTIONS.get(kind, kind.capitalize())
    section = [row for row in rows() if row.heading == heading and seed in row.seeds]
    later = MAP.partition(f"## {LATER}\n")[2].replace("\n  ", " ")
    mark = '"' if kind == "examples" else "`"
    missing = [
        term
        for term in TERMS[seed][kind]
        if not any(row.names(term) for row in section) and f"{mark}{term}{mark}" not in later
    ]
    assert missing == []


def test_every_example_in_json_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.py"))
    examples = sorted(path.stem for path in (GOLDEN / "seed2").glob("*.json"))
    assert len(examples) == 29
    assert [name for name in examples if f'"{name}"' not in text] == []
