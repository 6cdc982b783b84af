"""What a model's process has to say goes out soon, and before it begins what takes long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import attrs
import pytest

from mlxknife.adapters.worker.child import _Line, _run
from mlxknife.adapters.worker.protocol import Ask, Frames, Stepped, for_parent, packed
from mlxknife.domain.model.batching import BatchStep, Row, RowStep
from tests.contracts.flock import END_TOKEN
from tests.fakes.batches import FakeBatches

_NEVER = 3600.0
"""The pause between what goes out by itself."""
_MUST_COME = 20.0


@pytest.fixture
def ends() -> Iterator[tuple[_Line, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield _Line(ours, _NEVER), theirs


def _has_come(end: socket.socket) -> bytes:
    try:
        return end.recv(100, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def test_what_follows_at_once_goes_out_together_and_in_its_order(ends: tuple[_Line, socket.socket]) -> None:
    line, theirs = ends
    line.send(b"first ")
    line.tell(b"second ", at_once=False)
    line.tell(b"third ", at_once=False)
    assert _has_come(theirs) == b"first "
    line.tell(b"end", at_once=True)
    assert _has_come(theirs) == b"second third end"


def test_a_sign_of_life_takes_with_it_what_waits(ends: tuple[_Line, socket.socket]) -> None:
    line, theirs = ends
    line.send(b"")
    line.tell(b"waits ", at_once=False)
    line.beat()
    assert _has_come(theirs).startswith(b"waits ")


def test_what_waits_can_be_sent_before_something_long(ends: tuple[_Line, socket.socket]) -> None:
    line, theirs = ends
    line.send(b"")
    line.tell(b"waits", at_once=False)
    line.flush()
    line.flush()
    assert _has_come(theirs) == b"waits"


@attrs.define
class _Listened(FakeBatches):
    """Goes on behind a first token only when somebody has heard it."""

    heard: threading.Event = attrs.field(factory=threading.Event, init=False)
    has_spoken: bool = attrs.field(default=False, init=False)

    def step(self) -> BatchStep:
        if self.has_spoken:
            self.heard.wait(_MUST_COME)
        step = FakeBatches.step(self)
        self.has_spoken = self.has_spoken or bool(step.steps)
        return step


def test_the_first_token_and_the_last_wait_for_nothing(ends: tuple[_Line, socket.socket]) -> None:
    line, theirs = ends
    theirs.settimeout(_MUST_COME / 2)
    line.send(b"")
    batches = _Listened({(1,): (5, 6, 7, 8, END_TOKEN)}, END_TOKEN)
    running = threading.Thread(target=_until_hung_up, args=(line, batches))
    running.start()
    try:
        theirs.sendall(packed(Ask(Row(0, (1,), 100))))
        first = _heard(theirs)
        batches.heard.set()
        rest = _heard(theirs)
    finally:
        batches.heard.set()
        theirs.close()
        running.join()
    assert [one.token for one in first] == [5]
    assert [one.token for one in rest] == [6, 7, 8, END_TOKEN]


def _until_hung_up(line: _Line, batches: FakeBatches) -> None:
    with pytest.raises(ConnectionError):
        _run(line, batches)


def _heard(end: socket.socket) -> list[RowStep]:
    """Return the next heap that has a token."""
    frames, found = Frames(), list[RowStep]()
    while not found:
        frames.feed(end.recv(10_000))
        while (frame := frames.next()) is not None:
            message = for_parent(frame)
            assert isinstance(message, Stepped)
            found += message.steps
    return found
