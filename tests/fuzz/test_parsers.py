"""Every parser of bytes from outside, on mutated documents: no crash, and no hang.

Every case ends in a value or in an error of the contract. The cases of the usual run are always the same, ``make
stress`` runs a million with another seed.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import binary_targets, folder_targets, shown_targets, text_targets
from tests.fuzz.campaign import MAX_SECONDS, Report, Target, run
from tests.scorecard import Scorecard

_SEED = 1
_FEW, _MILLION = 4_000, 1_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory where there is one: the targets write a file for most cases."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture
def targets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """Return all targets, on a terminal with colours."""
    for name in ("NO_COLOR", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return list(_all_targets(folder))


def _all_targets(folder: Path) -> Iterator[Target]:
    for module in (text_targets, binary_targets, folder_targets):
        home = folder / module.__name__.rpartition(".")[2]
        home.mkdir()
        yield from module.targets(home)
    yield from shown_targets.targets()


def test_mutated_documents_end_as_the_contract_says(targets: list[Target]) -> None:
    whole = sum(target.share for target in targets)
    for target in targets:
        run(target, _SEED, max(5, target.share * _FEW // whole))


@pytest.mark.stress(part="fuzzing")
def test_a_million_mutated_documents(targets: list[Target], scorecard: Scorecard) -> None:
    whole = sum(target.share for target in targets)
    seed, cases = scorecard.seed, 0
    slowest = Report()
    for target in targets:
        report = run(target, seed, -(-target.share * _MILLION // whole))
        line = f"{report.cases} cases, {report.refused} refused, slowest {report.slowest * 1000:.1f} ms"
        scorecard.record(figures={target.name: f"{line} (case {report.slowest_case})"})
        cases += report.cases
        slowest = max(slowest, report, key=lambda one: one.slowest)
        assert report.slowest < MAX_SECONDS, target.name
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scorecard.record(
        counts={"cases": cases, "parsers": len(targets), "crashes": 0, "hangs": 0},
        figures={"slowest case": f"{slowest.slowest * 1000:.1f} ms", "peak memory": f"{peak // 1024} MB"},
    )
