"""The scorecard of ``make stress``: what each part did, printed and stored below ``benchmarks/results``.

A stress test names its part: ``@pytest.mark.stress(part="pull-kills")``. Its outcome and its seconds are stored without
further lines. With the fixture ``scorecard``, it takes its seed from ``scorecard.seed`` and adds what it counted:
``scorecard.record(counts={"killed": 70}, figures={"fetched again": "1.2 %"})``. Tests that are no stress tests may use
the fixture, too; nothing of them is stored.

``python -m tests.scorecard OTHER.json`` adds the rows of another scorecard to the one of its day.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
SEED_VARIABLE, FOLDER_VARIABLE = "MLXK_TEST_SEED", "MLXK_SCORECARD"
_HEAD = ("part", "test", "result", "seed", "counts", "figures", "seconds")
Document = dict[str, Any]


@attrs.define(slots=False)
class Scorecard:
    """What one test has to say; ``is_stress`` decides whether it is printed and stored."""

    item: pytest.Item
    recorded: dict[str, Any] = attrs.field(factory=dict)
    result: str = "passed"
    seconds: float = 0.0

    @property
    def part(self) -> str | None:
        """Return the part of the scorecard that the test belongs to; None if it is no stress test."""
        mark = self.item.get_closest_marker("stress")
        return None if mark is None else str(mark.kwargs["part"])

    @cached_property
    def seed(self) -> int:
        """Return the seed of ``MLXK_TEST_SEED``, or a new one. It is printed at once, in case the test never ends."""
        seed = int(os.environ.get(SEED_VARIABLE, "0")) or random.SystemRandom().randrange(1, 2**32)
        self.record(seed=seed)
        self.print(f"{SEED_VARIABLE}={seed} {self.item.nodeid}")
        return seed

    def record(
        self,
        *,
        seed: int | None = None,
        counts: Mapping[str, int] | None = None,
        figures: Mapping[str, float | str] | None = None,
    ) -> None:
        """Add counts and figures to the row of the test. ``seed`` is for a test that has a fixed one."""
        if seed is not None:
            self.recorded["seed"] = seed
        for kind, values in (("counts", counts), ("figures", figures)):
            if values is not None:
                self.recorded.setdefault(kind, {}).update(values)

    def row(self) -> dict[str, Any]:
        """Return the row to store."""
        return {"result": self.result, "seconds": round(self.seconds, 1), **self.recorded}

    def print(self, line: str) -> None:
        """Print a line on the terminal, or to the captured output of a test that is no stress test."""
        terminal = self.item.config.pluginmanager.get_plugin("terminalreporter")
        if self.part is None or terminal is None:
            sys.stdout.write(line + "\n")
            return
        with self.item.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            terminal.write(f"\n{line}\n", flush=True)


_SCORECARD = pytest.StashKey[Scorecard]()
_DAY = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Note the day: a run past midnight stores all its rows in one document."""
    config.stash[_DAY] = time.strftime("%Y-%m-%d")


@pytest.fixture
def scorecard(request: pytest.FixtureRequest) -> Scorecard:
    """Return the row of this test."""
    return _of(request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the outcome of each phase of a stress test, and store its row after the last."""
    report: Any = yield
    card = _of(item)
    if card.part is not None:
        card.seconds += report.duration
        if report.failed:
            card.result = "failed"
        elif report.skipped:
            card.result = f"skipped: {report.longrepr[-1].removeprefix('Skipped: ')}"
        if report.when == "teardown":
            test = item.nodeid.removeprefix("tests/")
            card.print(f"scorecard: {card.part}: {', '.join(_cells(test, card.row()))}")
            store({card.part: {test: card.row()}}, item.config.stash[_DAY])
    return report  # type: ignore[no-any-return]


def _of(item: pytest.Item) -> Scorecard:
    return item.stash.setdefault(_SCORECARD, Scorecard(item))


def store(parts: Mapping[str, Mapping[str, Any]], day: str) -> None:
    """Put rows into the document of a day and into its table. Other processes may do so at the same time."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scorecard-{platform.system().lower()}-{platform.machine()}-{day}.json"
    with _locked(folder):
        document = json.loads(path.read_bytes()) if path.exists() else {"parts": {}}
        document = {"date": day, "machine": _machine(), "parts": merged(document["parts"], parts)}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(page(document), encoding="utf-8")


def merged(parts: Mapping[str, Mapping[str, Any]], others: Mapping[str, Mapping[str, Any]]) -> Document:
    """Return the rows of both, sorted; a row of the others replaces the one of the same test."""
    return {
        part: dict(sorted({**parts.get(part, {}), **others.get(part, {})}.items()))
        for part in sorted({*parts, *others})
    }


def page(document: Document) -> str:
    """Return the page of a document. Tests of a part that counted nothing share a row."""
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    for part, tests in document["parts"].items():
        plain = {test: row for test, row in tests.items() if row.keys() == {"result", "seconds"}}
        lines += [_line((part, *_cells(test, row))) for test, row in tests.items() if test not in plain]
        for result in sorted({row["result"] for row in plain.values()}):
            seconds = [row["seconds"] for row in plain.values() if row["result"] == result]
            lines.append(
                _line((part, *_cells(f"{len(seconds)} without counts", {"result": result, "seconds": sum(seconds)})))
            )
    table = "\n".join(lines)
    return (
        f"# Scorecard of the stress tests, {document['date']}\n\n"
        "[CONTRIBUTING.md](../../CONTRIBUTING.md#stress-tests) explains the parts. The times are no figures of speed:\n"
        f"other processes may have used the machine.\n\n{table}\n\n{document['machine']}.\n"
    )


def _cells(test: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    joined = (
        ", ".join(f"{name} {value}" for name, value in row.get(kind, {}).items()) for kind in ("counts", "figures")
    )
    return (test, row["result"], str(row.get("seed", "")), *joined, f"{row['seconds']:.1f} s")


def _line(cells: Any) -> str:  # noqa: ANN401 - any texts
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def add(others: Sequence[str]) -> None:
    """Add the rows of other documents to the document of their day."""
    for other in others:
        read = json.loads(Path(other).read_bytes())
        store(read["parts"], read["date"])


if __name__ == "__main__":
    add(sys.argv[1:])
