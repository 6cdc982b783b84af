"""Programs of this machine, watched by one loop: no thread, so that a signal interrupts all of it at once."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import IO

from mlxknife.adapters.process.children import Child, undisturbed
from mlxknife.adapters.process.feed import Feed
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputChunk

_GRACE = 3.0
"""Seconds that a program has to end when it is asked to."""
_SOON = 0.02
"""Seconds between two looks at a program that closed its outputs and still runs."""
_NOT_FOUND = 127
_NOT_STARTED = 126
_KILLED = 128


class LocalPrograms:
    """Runs programs."""

    def __init__(self, grace: float = _GRACE) -> None:
        """Take the seconds that a program has to end by itself when it is not wanted any more."""
        self._grace = grace

    def run(
        self, programs: Sequence[Sequence[str]], source: IO[bytes] | None, *, side_by_side: bool
    ) -> Generator[CommandEvent]:
        """See ``Programs.run``."""
        waiting = deque(enumerate(programs))
        running: list[Child] = []
        feed = Feed(source, len(programs))
        try:
            while waiting or running:
                while waiting and (side_by_side or not running):
                    yield from _started(*waiting.popleft(), running, feed)
                if running:
                    yield from _heard(running, feed)
                    yield from _ended(running, feed)
        finally:
            _end(running, self._grace)


def _started(number: int, words: Sequence[str], running: list[Child], feed: Feed) -> Iterator[CommandEvent]:
    """Start a program, or tell why it cannot be."""
    try:
        with undisturbed():
            running.append(Child(number, words))
    except OSError as exc:
        is_missing = isinstance(exc, FileNotFoundError)
        reason = "command not found" if is_missing and os.sep not in words[0] else exc.strerror
        feed.skip(number)
        yield OutputChunk(number, os.fsencode(f"{words[0]}: {reason}\n"), is_error=True)
        yield CommandExited(number, _NOT_FOUND if is_missing else _NOT_STARTED, 0.0)


def _heard(running: Sequence[Child], feed: Feed) -> Iterator[CommandEvent]:
    """Wait until something can be read or written, and do that."""
    for child in running:
        feed.settle(child)
    outputs = {output: child for child in running for output in child.outputs}
    inputs = {child.input: child for child in running if child.input is not None and feed.has_more(child)}
    source = feed.wanted(child.number for child in running)
    is_ending = any(not child.outputs for child in running)
    readable, writable, _ = select.select(
        [*outputs, *(() if source is None else (source,))], [*inputs], [], _SOON if is_ending else None
    )
    for place in writable:
        feed.give(inputs[place])
    for place in readable:
        if place == source:
            feed.read()
            continue
        child = outputs[place]
        data = child.read(place)
        if data:
            yield OutputChunk(child.number, data, is_error=child.is_error(place))


def _ended(running: list[Child], feed: Feed) -> Iterator[CommandEvent]:
    """Tell which programs are over: they closed their outputs, and ended."""
    for child in tuple(running):
        status = child.status() if not child.outputs else None
        if status is not None:
            feed.drop(child)
            running.remove(child)
            signal = -status if status < 0 else None
            yield CommandExited(child.number, status if signal is None else _KILLED + signal, child.seconds(), signal)


def _end(running: Sequence[Child], grace: float) -> None:
    """End what still runs: ask first, and do not wait for ever."""
    try:
        for child in running:
            child.ask_to_end()
            child.close_input()
        deadline = time.monotonic() + grace
        while outputs := {output: child for child in running for output in child.outputs}:
            readable, _, _ = select.select([*outputs], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                break
            for output in readable:
                outputs[output].read(output)
    finally:
        with undisturbed():
            for child in running:
                child.end()
