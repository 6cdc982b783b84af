"""Our server beside its peers, over HTTP: throughput, first tokens, gaps, second turns, and what the front end takes.

Run it with ``make bench-serve``; README.md beside this file says what is measured. ``--rounds 1`` is for trying it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import say
from serving import front, model, servers, starter, table
from serving.rounds import Found, measure, measure_starter
from serving.servers import Server

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas

_RESULTS = Path(__file__).parent / "results"
_ROUNDS = 5
_SELDOM = 2
"""The starter is measured in one of so many rounds: it takes longer, and the machine disturbs it less."""


def main() -> None:
    """Make the model, start everything, measure, print and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    rounds: int = parser.parse_args().rounds
    signal.signal(signal.SIGTERM, _stop)
    blas = load_fast_blas()
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as name:
        home, many = Path(name) / "one", Path(name) / "many"
        for folder in (home, many):
            (folder / "empty").mkdir(parents=True)
        found = Found()
        snapshot = model.write_model(home / "hub")
        every = [
            servers.ours(home, model=model.NAME),
            *servers.peers(home, model.NAME, snapshot),
            servers.ours_without_blas(home, model=model.NAME, only="turn"),
        ]
        with _running(every):
            measure(every, snapshot, rounds, found)
        snapshot = starter.write_model(home / "hub")
        again = [servers.ours(home, model=starter.NAME), *servers.peers(home, starter.NAME, snapshot)]
        with _running(again):
            measure_starter(again, snapshot, max(1, rounds // _SELDOM), found)
        front.look(many, max(rounds, _ROUNDS), found)
    lines = list(table.rows(found))
    text = table.written(lines)
    notes = _notes(every, found)
    print("\n".join([text, *notes]))
    _save(lines, found, every, ["\n".join(notes), text], blas)


def _stop(number: int, _frame: object) -> None:
    """End as after Ctrl-C: else the servers would outlive it. A second signal must not disturb that."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit("benchmark stopped")


@contextmanager
def _running(every: Sequence[Server]) -> Iterator[None]:
    try:
        for server in every:
            say(f"starting {server.name}")
            server.start()
        if not every[0].is_there:
            sys.exit(f"benchmark stopped: our server {every[0].why_not}")
        yield
    finally:
        for server in every:
            server.stop()


def _notes(every: Sequence[Server], found: Found) -> list[str]:
    """Return a line for each peer that is not there, and for each answer that was wrong."""
    missing = [f"- {server.name} {' '.join(server.why_not.split())}" for server in every if server.why_not]
    return missing + [f"- {who}, {what}: {trouble}" for (what, who), trouble in found.troubles.items()]


def _save(
    lines: Sequence[table.Row], found: Found, every: Sequence[Server], texts: Sequence[str], blas: str | None
) -> None:
    day = time.strftime("%Y-%m-%d")
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    known = {server.name: server.versions for server in every}
    document = {
        "date": day,
        "machine": machine,
        "blas": blas,
        "versions": known,
        "not_there": {server.name: server.why_not for server in every if server.why_not},
        "troubles": {f"{who}: {what}": trouble for (what, who), trouble in found.troubles.items()},
        "table": [line.record() for line in lines],
        "rounds": {f"{who}: {what}": values for (what, who), values in found.values.items()},
    }
    words = [f"- {who}: {', '.join(f'{name} {number}' for name, number in has.items())}" for who, has in known.items()]
    parts = [
        f"# The server beside its peers, {day}",
        *texts,
        f"{machine}; our BLAS comes from {blas}.",
        "\n".join(words),
    ]
    name = f"serve-{platform.system().lower()}-{platform.machine()}-{day}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (_RESULTS / f"{name}.md").write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    say(f"saved as benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    main()
