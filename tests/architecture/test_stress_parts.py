"""The table of CONTRIBUTING.md has every part of ``make stress`` with its tests, and every stress test has a part."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "CONTRIBUTING.md"


def marks(tree: ast.Module) -> Iterator[str | None]:
    """Yield the part of each stress mark; None if it names none."""
    named = {id(node.func): part_of(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "stress" and ast.unparse(node.value).endswith("mark"):
            yield named.get(id(node))


def part_of(call: ast.Call) -> str | None:
    values = [keyword.value for keyword in call.keywords if keyword.arg == "part"]
    return str(values[0].value) if values and isinstance(values[0], ast.Constant) else None


def parts_of_tests() -> dict[str | None, set[str]]:
    found: dict[str | None, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        for part in marks(ast.parse(source)) if ".stress" in source else ():
            found.setdefault(part, set()).add(str(path.relative_to(TESTS)))
    return found


def test_every_stress_test_has_a_part_and_every_part_has_its_row_with_its_tests() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    table = {part: set(re.findall(r"`([\w/]+\.py)`", files)) for part, files in rows}
    found = parts_of_tests()
    assert None not in found, f'write mark.stress(part="...") in {found[None]}'
    assert found == table
    assert len(rows) == len(table) > 10


def test_a_mark_without_a_part_is_found() -> None:
    source = 'a = pytest.mark.stress\nb = pytest.mark.stress(part="x-y")\nc = pytest.mark.stress()\nd = other.stress'
    assert list(marks(ast.parse(source))) == [None, "x-y", None]
