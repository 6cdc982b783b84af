"""Workers: one after the other, or side by side in forked copies of this process."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_KILL = 9
_WORTH_A_FORK = 80
"""Fewer items than this are done before a copy would be ready."""


class SerialWorkers:
    """Does one thing after the other, in this process."""

    def map(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """See ``Workers.map``."""
        return [work(item) for item in items]


class ForkedWorkers:
    """Shares the items out among copies of this process, one for every processor.

    A copy starts with everything that is loaded and pays no start-up. It must be made while there is one thread only,
    which a command line can promise and a library cannot.
    """

    def __init__(self, processes: int | None = None) -> None:
        """Take the number of processes; by default one for every processor."""
        self._processes = processes or os.cpu_count() or 1

    def map(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """See ``Workers.map``."""
        shares = min(self._processes, len(items) // _WORTH_A_FORK + 1)
        if shares < 2:  # noqa: PLR2004 - alone
            return [work(item) for item in items]
        results: list[_Result | None] = [None] * len(items)
        with contextlib.ExitStack() as copies:
            gc.freeze()  # what is shared with the copies stays untouched by the collector
            copies.callback(gc.unfreeze)
            pipes = [copies.enter_context(_copy_at_work(work, items[share::shares])) for share in range(1, shares)]
            results[::shares] = [work(item) for item in items[::shares]]
            for share, pipe in enumerate(pipes, start=1):
                results[share::shares] = _received(pipe) or [work(item) for item in items[share::shares]]
        return results  # type: ignore[return-value] # every place has been filled


@contextlib.contextmanager
def _copy_at_work(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[int]:
    """Fork a copy that works on some items; give the pipe that its results come through."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _work_and_die(work, items, sending)
    os.close(sending)
    try:
        yield receiving
    finally:
        os.close(receiving)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, _KILL)
        os.waitpid(child, 0)


def _work_and_die(work: Callable[[_Item], _Result], items: Sequence[_Item], sending: int) -> None:
    code = 1
    try:
        import pickle  # noqa: PLC0415 - only for many items

        with os.fdopen(sending, "wb") as pipe:
            pipe.write(pickle.dumps([work(item) for item in items], pickle.HIGHEST_PROTOCOL))
        code = 0
    finally:
        os._exit(
            code
        )  # no cleaning up: all that there is belongs to the parent, which does this share itself on failure


def _received(pipe: int) -> list[_Result] | None:
    """Return what a copy sent, or None when it died before it was done."""
    import pickle  # noqa: PLC0415 - only for many items

    with os.fdopen(pipe, "rb", closefd=False) as stream:
        data = stream.read()
    try:
        results: list[_Result] = pickle.loads(data)  # noqa: S301 - our own copy sent it
    except (EOFError, pickle.UnpicklingError):
        return None
    return results
