"""The documentation names what exists, in the words of the glossary: paths, errors, public names, links, decisions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import mlxknife
from mlxknife.cli.errors import EXIT_CODES
from mlxknife.domain.errors import KnifeError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ADRS = DOCS / "adr"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
MAX_README, MAX_LINE = 150, 200
PRIVATE_WORDS = re.compile(
    r"\b(told|tells?|whoever|somebody|nobody|anybody|doorman|residents?|narration|appetite|heaps?)\b", re.IGNORECASE
)
SECURITY = ROOT / "SECURITY.md"
WITH_TESTS = {"seed-map.md", SECURITY.name}  # their table rows hold names of tests and cannot be wrapped


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Return a page without its code, in which names and output of programs may stand."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text(page), flags=re.MULTILINE | re.DOTALL)


def test_the_readme_fits_three_screens() -> None:
    assert len(text(ROOT / "README.md").splitlines()) <= MAX_README


def test_the_repository_holds_the_documents_of_a_project() -> None:
    names = [
        "LICENSE",
        "NOTICE",
        "MIGRATION.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/README.md",
    ]
    assert [name for name in names if not (ROOT / name).is_file()] == []
    assert "Apache License" in text(ROOT / "LICENSE")
    readme = text(ROOT / "README.md")
    assert "## Model usage and licences\n" in readme
    assert "you are responsible" in readme


def test_no_line_of_a_page_is_too_long_to_read() -> None:
    pages = PAGES
    lines = [(page, line) for page in pages for line in text(page).splitlines()]
    long = [(page.name, line) for page, line in lines if len(line) > MAX_LINE]
    assert [line for name, line in long if name not in WITH_TESTS or not line.startswith("| ")] == []


def test_every_promise_of_security_names_tests_that_exist() -> None:
    rows = [line for line in text(SECURITY).splitlines() if line.startswith("| ") and "Shown by" not in line]
    named = [re.findall(r"`((?:\w+/)+\w+\.py)(?:::(\w+))?`", row) for row in rows]
    assert len(rows) > 10
    assert all(named)
    for file, test in (one for row in named for one in row):
        source = text((ROOT if file.startswith("benchmarks/") else ROOT / "tests") / file)
        assert f"def {test}" in source, file


def test_the_pages_use_no_private_words() -> None:
    pages = [page for page in PAGES if page.parent != ADRS]
    assert {page.name: found for page in pages if (found := PRIVATE_WORDS.findall(prose(page)))} == {}


def test_every_path_of_the_architecture_page_exists() -> None:
    named = set(
        re.findall(r"`((?:domain|ports|adapters|cli|http|wiring|tests)[\w./]*)`", text(DOCS / "architecture.md"))
    )
    missing = {path for path in named if not any((root / path).exists() for root in (ROOT / "mlxknife", ROOT))}
    assert len(named) > 60
    assert missing == set()


def test_every_public_name_is_on_the_page_about_the_library() -> None:
    named = set(re.findall(r"`(\w+)`", text(DOCS / "library.md")))
    assert set(mlxknife.__all__) - named == set()


def errors(kind: type[KnifeError] = KnifeError) -> Iterator[type[KnifeError]]:
    """Yield the errors of the domain; those of HTTP never reach the command line."""
    for below in kind.__subclasses__():
        if below.__module__ == KnifeError.__module__:
            yield below
            yield from errors(below)


def test_every_error_type_is_in_the_table_of_the_contract_with_its_exit_code() -> None:
    table = {
        name: int(code)
        for name, code in re.findall(r"^\| `(\w+)` \| (\d+) \|", text(DOCS / "json-api.md"), re.MULTILINE)
    }
    assert table == {error.code: EXIT_CODES.get(error.code, 1) for error in errors()} | {"interrupted": 130}


def test_every_link_leads_to_a_page_and_a_heading() -> None:
    assert [link for page in PAGES for link in broken_links(page)] == []


def broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, heading = link.partition("#")
        target = page if not path else page.parent / path
        if "://" in link:
            continue
        if not target.exists() or (heading and heading not in anchors(target)):
            yield f"{page.relative_to(ROOT)}: {link}"


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_index_under_its_title_and_status() -> None:
    index = text(ADRS / "README.md")
    for page in sorted(ADRS.glob("0*.md")):
        number, title = re.fullmatch(r"# (\d{4})\. (.+)", text(page).splitlines()[0]).groups()  # type: ignore[union-attr]
        assert page.name.startswith(number)
        if number != "0000":
            status = re.search(r"^- Status: (\w+)", text(page), re.MULTILINE)
            assert status is not None
            assert re.search(rf"\[{number}\]\({re.escape(page.name)}\) \| .+ \| {status[1]}", index), page.name
            assert title


def test_every_decision_has_a_number_of_its_own() -> None:
    pages = sorted(page.name for page in ADRS.glob("0*.md"))
    assert [page for page, other in pairwise(pages) if page[:4] == other[:4]] == []


def test_a_decision_says_its_problem_its_options_and_its_outcome() -> None:
    wanted = ["Context and problem statement", "Considered options", "Decision outcome", "Consequences"]
    for page in sorted(ADRS.glob("0*.md")):
        assert re.findall(r"^##+ (.+)$", text(page), re.MULTILINE) == wanted, page.name


def test_the_notice_names_every_package_that_an_installation_brings() -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    names = {re.split(r"[\[<>=; ]", requirement)[0] for requirement in wanted}
    notice = text(ROOT / "NOTICE").lower()
    assert {name for name in names if name.lower() not in notice} == set()
    assert "NOTICE" in project["license-files"]


def test_the_unit_of_a_service_is_hardened_and_valid(tmp_path: Path) -> None:
    (unit,) = re.findall(r"^```ini\n(# /etc/systemd.*?)^```", text(ROOT / "docs/server.md"), re.MULTILINE | re.DOTALL)
    for line in ("PrivateTmp=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in unit
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed here")
    file = tmp_path / "mlxk.service"
    file.write_text(unit.replace("/opt/mlxk/bin/mlxk", sys.executable), encoding="utf-8")
    checked = subprocess.run([checker, "verify", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
