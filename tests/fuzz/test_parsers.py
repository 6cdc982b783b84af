"""Every parser of bytes from outside, on mutated documents: no crash, and no hang.

Every case ends in a value or in an error of the contract. The cases of the usual run are always the same, ``make
stress`` runs a million with another seed.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz import binary_targets, folder_targets, shown_targets, text_targets
from tests.fuzz.campaign import MAX_SECONDS, Report, Target, run
from tests.scorecard import Scorecard

_SEED = 1
_FEW, _MILLION = 4_000, 1_000_000
_GROUPS: dict[str, Callable[[Path], Iterator[Target]]] = {
    "texts": text_targets.targets,
    "binary formats": binary_targets.targets,
    "models": folder_targets.targets,
    "shown texts": shown_targets.targets,
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory where there is one: the targets write a file for most cases."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture(autouse=True)
def _terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def targets(folder: Path) -> dict[str, list[Target]]:
    """Return all targets in groups; each group takes some minutes of a million cases."""
    found = {}
    for name, made in _GROUPS.items():
        home = folder / name
        home.mkdir()
        found[name] = list(made(home))
    return found


def test_mutated_documents_end_as_the_contract_says(folder: Path) -> None:
    everything = [target for group in targets(folder).values() for target in group]
    whole = sum(target.share for target in everything)
    for target in everything:
        run(target, _SEED, max(5, target.share * _FEW // whole))


@pytest.mark.parametrize("group", _GROUPS)
@pytest.mark.stress(part="fuzzing")
def test_a_million_mutated_documents(folder: Path, group: str, scorecard: Scorecard) -> None:
    groups = targets(folder)
    whole = sum(target.share for targets in groups.values() for target in targets)
    seed, cases = scorecard.seed, 0
    slowest = Report()
    for target in groups[group]:
        report = run(target, seed, -(-target.share * _MILLION // whole))
        line = f"{report.cases} cases, {report.refused} refused, slowest {report.slowest * 1000:.1f} ms"
        scorecard.record(figures={target.name: f"{line} (case {report.slowest_case})"})
        cases += report.cases
        slowest = max(slowest, report, key=lambda one: one.slowest)
        assert report.slowest < MAX_SECONDS, target.name
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scorecard.record(
        counts={"cases": cases, "parsers": len(groups[group]), "crashes": 0, "hangs": 0},
        figures={"slowest case": f"{slowest.slowest * 1000:.1f} ms", "peak memory": f"{peak // 1024} MB"},
    )
