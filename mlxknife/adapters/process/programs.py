"""Running programs in one select loop without threads, so that one signal interrupts everything."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import IO

from mlxknife.adapters.process.child_process import ChildProcess, deferred_signals
from mlxknife.adapters.process.input_fanout import InputFanout
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputChunk

_GRACE = 3.0
"""The seconds between SIGTERM and SIGKILL."""
_POLL_SECONDS = 0.02
"""The wait before the next look at a program that has closed its outputs and still runs."""
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_SIGNALED = 128


class LocalPrograms:
    """Runs programs as child processes."""

    def __init__(self, grace: float = _GRACE) -> None:
        """Take the seconds that a program has between SIGTERM and SIGKILL."""
        self._grace = grace

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[CommandEvent]:
        """See ``Programs.run``."""
        pending = deque(enumerate(programs))
        running: list[ChildProcess] = []
        fanout = InputFanout(source, len(programs))
        try:
            while pending or running:
                while pending and (side_by_side or not running):
                    yield from _start(*pending.popleft(), running, fanout)
                if running:
                    yield from _exchange(running, fanout)
                    yield from _collect_ended(running, fanout)
        finally:
            _end_all(running, self._grace)


def _start(
    number: int, arguments: Sequence[str], running: list[ChildProcess], fanout: InputFanout
) -> Iterator[CommandEvent]:
    """Start a program; yield an error message and the end of one that cannot be started."""
    try:
        with deferred_signals():
            running.append(ChildProcess(number, arguments))
    except OSError as exc:
        is_missing = isinstance(exc, FileNotFoundError)
        reason = "command not found" if is_missing and os.sep not in arguments[0] else exc.strerror
        fanout.drop(number)
        yield OutputChunk(number, os.fsencode(f"{arguments[0]}: {reason}\n"), is_error=True)
        yield CommandExited(number, _NOT_FOUND if is_missing else _NOT_EXECUTABLE, 0.0)


def _exchange(running: Sequence[ChildProcess], fanout: InputFanout) -> Iterator[CommandEvent]:
    """Wait until a pipe is ready; pass input on and yield output."""
    for child in running:
        fanout.close_if_complete(child)
    outputs = {output: child for child in running for output in child.outputs}
    inputs = {child.stdin: child for child in running if child.stdin is not None and fanout.has_backlog(child)}
    source = fanout.readable_source(child.number for child in running)
    is_ending = any(not child.outputs for child in running)
    readable, writable, _ = select.select(
        [*outputs, *(() if source is None else (source,))], [*inputs], [], _POLL_SECONDS if is_ending else None
    )
    for descriptor in writable:
        fanout.write(inputs[descriptor])
    for descriptor in readable:
        if descriptor == source:
            fanout.read()
            continue
        child = outputs[descriptor]
        data = child.read(descriptor)
        if data:
            yield OutputChunk(child.number, data, is_error=child.is_stderr(descriptor))


def _collect_ended(running: list[ChildProcess], fanout: InputFanout) -> Iterator[CommandEvent]:
    """Yield the end of every program that has closed its outputs and exited."""
    for child in tuple(running):
        status = child.status() if not child.outputs else None
        if status is not None:
            fanout.close(child)
            running.remove(child)
            signal = -status if status < 0 else None
            yield CommandExited(child.number, status if signal is None else _SIGNALED + signal, child.seconds(), signal)


def _end_all(running: Sequence[ChildProcess], grace: float) -> None:
    """Send SIGTERM to all programs, read their output until they end or the grace is over, then kill the rest."""
    try:
        for child in running:
            child.terminate()
            child.close_stdin()
        deadline = time.monotonic() + grace
        while outputs := {output: child for child in running for output in child.outputs}:
            readable, _, _ = select.select([*outputs], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                break
            for output in readable:
                outputs[output].read(output)
    finally:
        with deferred_signals():
            for child in running:
                child.kill()
