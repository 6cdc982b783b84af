"""Times ``mlxk --version``, ``list`` and ``health`` against mlx-knife 2.0.8, ``hf cache ls`` and bare Python.

Run it with ``make bench``. README.md explains the columns.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from caches import make_cache
from processes import Case, Times, log, make_environment, measure, output, versions

_ROOT = Path(__file__).resolve().parent.parent
_RESULTS = _ROOT / "benchmarks" / "results"
_PROGRAMS = Path(sys.executable).parent
_PEER = ("mlx-knife==2.0.8", *(("mlx[cpu]",) if sys.platform == "linux" else ()))
"""The extra installs the mlx-cpu of the same release. With another one ``import mlx`` fails, and so does ``list``."""

_HUB = ("huggingface_hub==2.4.0",)

_ONE, _SOME, _MANY = 1, 200, 2000
_RUNS = 11
_SLOW_RUNS = 3

_START_UP = 4.0
_OF_PEER = 0.25
_OF_HUB = 1.0
_GROWTH = 1.1

_HEAD = ("what", "against", "ours ms", "peer ms", "ratio", "target", "met")


@dataclass(frozen=True)
class Row:
    """One line of the table. Without a target it is for information."""

    what: str
    against: str
    ours_ms: float
    peer_ms: float
    target: float | None

    @property
    def ratio(self) -> float:
        """Return our time divided by the other."""
        return self.ours_ms / self.peer_ms

    @property
    def met(self) -> bool | None:
        """Return whether the ratio is within the target; None without a target."""
        return None if self.target is None else self.ratio <= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        target = "" if self.target is None else f"≤ {self.target:.2f}"
        met = {None: "", True: "yes", False: "no"}[self.met]
        return (self.what, self.against, f"{self.ours_ms:.2f}", f"{self.peer_ms:.2f}", f"{self.ratio:.3f}", target, met)

    def record(self) -> dict[str, object]:
        """Return the values to save."""
        rounded = {"ours_ms": round(self.ours_ms, 3), "peer_ms": round(self.peer_ms, 3), "ratio": round(self.ratio, 4)}
        return asdict(self) | rounded | {"met": self.met}


def main() -> None:
    """Create environments and caches, check and time all programs, print and save the table."""
    peer = make_environment(_ROOT / ".bench" / "peer", _PEER)
    hub = make_environment(_ROOT / ".bench" / "hub", _HUB)
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as folder:
        homes = {count: Path(folder) / str(count) for count in (_ONE, _SOME, _MANY)}
        for count, home in homes.items():
            log(f"creating a cache of {count} models")
            make_cache(home, count)
            (home / "empty").mkdir()
        _check(homes, peer, hub)
        times = measure(list(_cases(homes, peer, hub)))
    rows = list(_rows(times))
    table = _table(rows)
    print(table)
    _save(rows, times, table, _versions(peer, hub))


def _check(homes: Mapping[int, Path], peer: Path, hub: Path) -> None:
    """Exit unless every program finds every model healthy and runnable with the installed runtime."""
    for count, home in homes.items():
        for who, programs in (("ours", _PROGRAMS), ("the peer", peer)):
            data = json.loads(output((str(programs / "mlxk"), "health", "--json"), home))["data"]
            summary = data["summary"]
            if (summary["total"], summary["healthy_count"]) != (count, count):
                why = data["unhealthy"][0] if data["unhealthy"] else ""
                sys.exit(f"benchmark stopped: {who} reports {summary} for {count} models {why}")
        if count == _SOME:
            _check_lists(home, peer, hub)


def _check_lists(home: Path, peer: Path, hub: Path) -> None:
    for who, programs in (("ours", _PROGRAMS), ("the peer", peer)):
        models = json.loads(output((str(programs / "mlxk"), "list", "--json"), home))["data"]["models"]
        not_runnable = [model["reason"] for model in models if not model["runtime_compatible"]]
        if len(models) != _SOME or not_runnable:
            sys.exit(
                f"benchmark stopped: {who} lists {len(models)} of {_SOME} models, {len(not_runnable)} not runnable: "
                f"{not_runnable[:1]}"
            )
    repos = json.loads(output((str(hub / "hf"), "cache", "ls", "--format", "json"), home))
    if len(repos) != _SOME:
        sys.exit(f"benchmark stopped: hf cache ls lists {len(repos)} of {_SOME} models")


def _cases(homes: Mapping[int, Path], peer: Path, hub: Path) -> Iterator[Case]:
    ours, theirs = str(_PROGRAMS / "mlxk"), str(peer / "mlxk")
    yield Case("python -c pass", (sys.executable, "-c", "pass"), homes[_SOME], _RUNS)
    yield Case("ours --version", (ours, "--version"), homes[_SOME], _RUNS)
    yield Case(f"hf cache ls {_SOME}", (str(hub / "hf"), "cache", "ls"), homes[_SOME], _RUNS)
    for command in ("list", "health"):
        for count, home in homes.items():
            yield Case(f"ours {command} {count}", (ours, command, "--json"), home, _RUNS)
        for count in (_SOME, _MANY):
            runs = _SLOW_RUNS if (command, count) == ("list", _MANY) else _RUNS
            yield Case(f"peer {command} {count}", (theirs, command, "--json"), homes[count], runs)


def _rows(times: Mapping[str, Times]) -> Iterator[Row]:
    medians = {name: found.median for name, found in times.items()}
    yield Row("--version", "python -c pass", medians["ours --version"], medians["python -c pass"], _START_UP)
    for command in ("list", "health"):
        ours = {count: medians[f"ours {command} {count}"] for count in (_ONE, _SOME, _MANY)}
        for count, target in ((_SOME, _OF_PEER), (_MANY, None)):
            yield Row(
                f"{command}, {count} models",
                f"mlx-knife 2.0.8 {command}",
                ours[count],
                medians[f"peer {command} {count}"],
                target,
            )
        yield Row(f"{command}, {_SOME} models", "hf cache ls", ours[_SOME], medians[f"hf cache ls {_SOME}"], _OF_HUB)
        yield Row(f"{command}, {_ONE} model", "python -c pass", ours[_ONE], medians["python -c pass"], None)
        yield Row(
            f"{command}, each further model up to {_MANY}",
            f"each up to {_SOME}",
            (ours[_MANY] - ours[_ONE]) / (_MANY - _ONE),
            (ours[_SOME] - ours[_ONE]) / (_SOME - _ONE),
            _GROWTH,
        )


def _table(rows: Sequence[Row]) -> str:
    lines = [_HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def _versions(peer: Path, hub: Path) -> dict[str, object]:
    backend = ("mlx-cpu",) if sys.platform == "linux" else ()
    return {
        "python": platform.python_version(),
        "ours": versions(Path(sys.executable), ("mlxknife", "msgspec", "attrs", "mlx-lm")),
        "mlx-knife": versions(peer / "python", ("mlx-knife", "huggingface_hub", "mlx-lm", "mlx", *backend)),
        "hf": versions(hub / "python", ("huggingface_hub",)),
    }


def _machine() -> dict[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
    }


def _save(rows: Sequence[Row], times: Mapping[str, Times], table: str, found: Mapping[str, object]) -> None:
    day, machine = time.strftime("%Y-%m-%d"), _machine()
    name = f"catalog-{sys.platform}-{platform.machine()}-{day}"
    document = {
        "date": day,
        "machine": machine,
        "versions": found,
        "table": [row.record() for row in rows],
        "times": {case: taken.summary() for case, taken in times.items()},
    }
    text = [
        f"# The catalog against its peers, {day}",
        "Medians of whole processes. [../README.md](../README.md) explains the columns.",
        table,
        "## Medians, fastest and slowest run",
        _times_table(times),
        f"Machine: {_joined(machine)}.",
        "\n".join(f"- {who}: {_joined(what)}" for who, what in found.items()),
    ]
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (_RESULTS / f"{name}.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    log(f"saved as benchmarks/results/{name}.json and .md")


def _times_table(times: Mapping[str, Times]) -> str:
    lines = ["| what | runs | median ms | min ms | max ms |", "| --- | --- | --- | --- | --- |"]
    for case, taken in times.items():
        lines.append(f"| {case} | {' | '.join(map(str, taken.summary().values()))} |")
    return "\n".join(lines)


def _joined(value: object) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, Mapping) else str(value)


if __name__ == "__main__":
    main()
