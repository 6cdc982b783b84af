"""Our server against its peers over HTTP: throughput, first tokens, gaps, second turns, and memory without a model.

Run it with ``make bench-serve``. README.md says what it measures. ``--rounds 1 --starter-alone`` is for a quick try:
the starter takes peers without a fast BLAS ten minutes.
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

from processes import log
from serving import idle_server, model, servers, starter, table
from serving.rounds import Found, measure, measure_starter
from serving.servers import Server

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas

_RESULTS = Path(__file__).parent / "results"
_ROUNDS = 5
_STARTER_SHARE = 2
"""The starter is measured in 1/2 of the rounds: its rounds are longer, and vary less."""


def main() -> None:
    """Create the models, start the servers, measure, print and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--starter-alone", action="store_true", help="measure the starter without the peers")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
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
            servers.ours_without_blas(home, model=model.NAME, only_measure="turn"),
        ]
        with _running(every):
            measure(every, snapshot, rounds, found)
        snapshot = starter.write_model(home / "hub")
        with_starter = [servers.ours(home, model=starter.NAME)]
        if not arguments.starter_alone:
            with_starter += servers.peers(home, starter.NAME, snapshot)
        with _running(with_starter):
            measure_starter(with_starter, snapshot, max(1, rounds // _STARTER_SHARE), found)
        idle_server.measure_idle(many, max(rounds, _ROUNDS), found)
    lines = list(table.rows(found))
    text = table.markdown(lines)
    notes = _notes(every, found)
    print("\n".join([text, *notes]))
    _save(lines, found, every, ["\n".join(notes), text], blas)


def _stop(number: int, _frame: object) -> None:
    """Exit as after Ctrl-C, so that the servers are stopped. A second signal must not interrupt that."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit("benchmark stopped")


@contextmanager
def _running(every: Sequence[Server]) -> Iterator[None]:
    try:
        for server in every:
            log(f"starting {server.name}")
            server.start()
        if not every[0].is_running:
            sys.exit(f"benchmark stopped: our server {every[0].problem}")
        yield
    finally:
        for server in every:
            server.stop()


def _notes(every: Sequence[Server], found: Found) -> list[str]:
    """Return a line for each server that does not run, and for each wrong answer."""
    missing = [f"- {server.name} {' '.join(server.problem.split())}" for server in every if server.problem]
    return missing + [f"- {who}, {what}: {answer}" for (what, who), answer in found.wrong_answers.items()]


def _save(
    lines: Sequence[table.Row], found: Found, every: Sequence[Server], texts: Sequence[str], blas: str | None
) -> None:
    day = time.strftime("%Y-%m-%d")
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    versions = {server.name: server.versions for server in every}
    document = {
        "date": day,
        "machine": machine,
        "blas": blas,
        "versions": versions,
        "not_running": {server.name: server.problem for server in every if server.problem},
        "wrong_answers": {f"{who}: {what}": answer for (what, who), answer in found.wrong_answers.items()},
        "table": [line.record() for line in lines],
        "rounds": {f"{who}: {what}": values for (what, who), values in found.values.items()},
    }
    packages = [f"- {who}: {', '.join(f'{name} {has[name]}' for name in has)}" for who, has in versions.items()]
    parts = [
        f"# The server against its peers, {day}",
        *texts,
        f"{machine}; our BLAS comes from {blas}.",
        "\n".join(packages),
    ]
    name = f"serve-{platform.system().lower()}-{platform.machine()}-{day}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (_RESULTS / f"{name}.md").write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    log(f"saved as benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    main()
