"""A server whose models begin several answers in the same step: ``python -m tests.e2e.gathering --port 0 --json DESK``.

The front end and the processes of the models are the real ones. While the folder DESK has a file ``gather`` with a
number, rows are held back until there are so many; ``rows`` there tells which began together, and which each step had.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
from starlette.applications import Starlette

import mlxknife
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostEvent
from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from mlxknife.ports.engines.hosts import Host, Hosts


@attrs.frozen
class Desk:
    """What the test and the server tell each other."""

    folder: Path

    def gather(self, count: int) -> None:
        """Hold rows back until there are so many."""
        (self.folder / "gather").write_text(str(count))

    def gathering(self) -> int:
        file = self.folder / "gather"
        return int(file.read_text()) if file.exists() else 1

    def note(self, what: str, rows: list[int]) -> None:
        with (self.folder / "rows").open("a") as noted:
            noted.write(json.dumps([what, rows]) + "\n")

    def noted(self) -> list[tuple[str, list[int]]]:
        """Return what happened: ``begun`` or ``step``, and with which rows."""
        return [(what, rows) for what, rows in map(json.loads, (self.folder / "rows").read_text().splitlines())]


@attrs.define(eq=False)
class GatheringHost:
    """Fulfils ``ports.hosts.Host``."""

    host: Host
    desk: Desk
    held: list[Row] = attrs.field(factory=list)

    @property
    def process_id(self) -> int | None:
        return self.host.process_id

    def submit(self, row: Row) -> None:
        self.held.append(row)
        if len(self.held) < self.desk.gathering():
            return
        rows, self.held = self.held, []
        self.desk.note("begun", [one.id for one in rows])
        for one in rows:
            self.host.submit(one)

    def cancel(self, row_id: int) -> None:
        self.held = [row for row in self.held if row.id != row_id]
        self.host.cancel(row_id)

    def close(self) -> None:
        self.host.close()


@attrs.frozen
class GatheringHosts:
    """Fulfils ``ports.hosts.Hosts``."""

    hosts: Hosts
    desk: Desk

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> GatheringHost:
        def heard(event: HostEvent) -> None:
            if isinstance(event, BatchStep):
                self.desk.note("step", [step.row for step in event.steps])
            on_event(event)

        return GatheringHost(self.hosts.start(location, profile, heard), self.desk)


def main() -> int:
    desk = Desk(Path(sys.argv[-1]))
    app = mlxknife.open_app()

    def create(options: Options) -> Starlette:
        gathering = attrs.evolve(app, open_hosts=lambda: GatheringHosts(app.open_hosts(), desk))
        return create_app(app.open_serving(), gathering.open_residents(), options)

    return serve(create, Options(port=0), _tell)


def _tell(url: str) -> None:
    document = {"status": "success", "data": {"url": url, "pid": os.getpid()}}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
