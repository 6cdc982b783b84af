"""Fulfils ``ports.hosts`` on the asyncio loop that runs: a process for each model, without a thread on this side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from mlxknife.adapters.worker.parent.heartbeat import Limits
from mlxknife.adapters.worker.parent.host import WorkerHost
from mlxknife.adapters.worker.parent.process import ModelProcess
from mlxknife.adapters.worker.protocol import Start, packed
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import Fell, HostEvent
from mlxknife.ports.engines.hosts import Host

_DEFAULT_LIMITS = Limits()


class WorkerHosts:
    """Starts processes; ``start`` is to be called on a loop that runs, and everything is told from that loop."""

    def __init__(self, command: Sequence[str], free: Callable[[], int], limits: Limits = _DEFAULT_LIMITS) -> None:
        """Take the command that runs ``child.serve``, and after which time a process hangs.

        The numbers of a descriptor and of this process are put behind the command. ``free`` tells, at each start, how
        many bytes a process may take with its model.
        """
        self.command = tuple(command)
        self._free = free
        self._limits = limits

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> Host:
        """See ``Hosts.start``."""
        start = packed(Start.of(location, profile, self._free(), self._limits.beat))
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:
            return _NeverStarted(exc, on_event)
        with theirs:
            try:
                process = ModelProcess(self.command, theirs.fileno())
            except OSError as exc:
                ours.close()
                return _NeverStarted(exc, on_event)
        return WorkerHost(process, ours, start, self._limits, on_event)


class _NeverStarted:
    """A process that could not be started, which is told later like everything else."""

    process_id = None

    def __init__(self, reason: OSError, on_event: Callable[[HostEvent], None]) -> None:
        msg = f"No process could be started for the model: {reason.strerror or reason}"
        error = EngineError(msg, hint=HintCode.PROCESS_LIMIT)
        error.__cause__ = reason
        self._telling = asyncio.get_running_loop().call_soon(on_event, Fell(error))

    def submit(self, row: Row) -> None:
        """See ``Host.submit``."""

    def cancel(self, row_id: int) -> None:
        """See ``Host.cancel``."""

    def close(self) -> None:
        """See ``Host.close``."""
        self._telling.cancel()
