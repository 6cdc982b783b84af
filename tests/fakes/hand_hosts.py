"""Processes of models whose every word a test says by hand."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import Fell, HostedModel, HostEvent, Loaded


@attrs.define(eq=False)
class HandHost:
    """Keeps what it is asked; what it says is said by a test."""

    location: Location
    profile: str
    on_event: Callable[[HostEvent], None]
    rows: dict[int, Row] = attrs.field(factory=dict)
    cancelled: list[int] = attrs.field(factory=list)
    is_closed: bool = False
    has_loaded: bool = False

    @property
    def process_id(self) -> int | None:
        return None if self.is_closed else 1

    def submit(self, row: Row) -> None:
        assert not self.is_closed
        assert self.has_loaded, "rows come after Loaded"
        assert row.id not in self.rows
        self.rows[row.id] = row

    def cancel(self, row_id: int) -> None:
        self.cancelled.append(row_id)

    def close(self) -> None:
        self.is_closed = True

    def say(self, event: HostEvent) -> None:
        """Tell an event, as long as there is anybody to tell it to."""
        if self.is_closed:
            return
        self.has_loaded = self.has_loaded or isinstance(event, Loaded)
        if isinstance(event, Fell):
            self.is_closed = True
        self.on_event(event)

    def load(self, model: HostedModel | None = None) -> None:
        """Say that the model is there."""
        self.say(Loaded(model or HostedModel("", 256), 0.5))


@attrs.define
class HandHosts:
    """Fulfils ``ports.hosts``; nothing happens by itself."""

    started: list[HandHost] = attrs.field(factory=list)

    @property
    def running(self) -> list[HandHost]:
        """The processes that were not ended."""
        return [host for host in self.started if not host.is_closed]

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> HandHost:
        """See ``Hosts.start``."""
        host = HandHost(location, profile, on_event)
        self.started.append(host)
        return host
