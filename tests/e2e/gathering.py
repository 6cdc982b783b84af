"""A server whose model begins several answers in the same step: ``python -m tests.e2e.gathering --port 0 --json DESK``.

Everything is real. While the folder DESK has a file ``gather`` with a number, the model process holds rows back until
there are that many; the file ``rows`` there lists which rows began together, and which each step had.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import attrs
from starlette.applications import Starlette

import mlxknife
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from mlxknife.http.server import serve


@attrs.frozen
class Desk:
    """A folder through which the test and the model process exchange messages."""

    folder: Path

    def gather(self, count: int) -> None:
        """Hold rows back until there are that many."""
        (self.folder / "gather").write_text(str(count))

    def gathering(self) -> int:
        file = self.folder / "gather"
        return int(file.read_text()) if file.exists() else 1

    def note(self, kind: str, rows: list[int]) -> None:
        with (self.folder / "rows").open("a") as notes:
            notes.write(json.dumps([kind, rows]) + "\n")

    def noted(self) -> list[tuple[str, list[int]]]:
        """Return what happened: ``begun`` or ``step``, each with its rows."""
        return [(kind, rows) for kind, rows in map(json.loads, (self.folder / "rows").read_text().splitlines())]


def main() -> int:
    app = mlxknife.open_app()
    processes = WorkerProcesses((sys.executable, "-m", "tests.e2e.gathering_worker", sys.argv[-1]))

    def create(options: Options) -> Starlette:
        return create_app(app.servable_models(), app.model_pool(processes=processes), options)

    return serve(create, Options(port=0), _print_document)


def _print_document(url: str) -> None:
    document = {"status": "success", "data": {"url": url, "pid": os.getpid()}}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
