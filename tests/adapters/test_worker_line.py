"""What a model's process has to say goes out soon, and before it begins what takes long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

import attrs
import pytest

from mlxknife.adapters.worker.child.loop import _Line, _run
from mlxknife.adapters.worker.protocol import Ask, Frames, Stepped, for_parent, packed
from mlxknife.domain.generation.values.rows import Row, RowStep
from tests.contracts.flock import END_TOKEN
from tests.fakes.batches import FakeBatches

_NEVER = 1e12
"""The pause between what goes out by itself."""


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
class _Wire:
    """Stands for a socket: it has what was said, hangs up where it would have to wait, and notes what is sent."""

    said: list[bytes]
    sent: list[bytes] = attrs.field(factory=list, init=False)

    def recv(self, _size: int, flags: int) -> bytes:
        if self.said:
            return self.said.pop(0)
        if flags & socket.MSG_DONTWAIT:
            raise BlockingIOError
        return b""

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)


def test_the_first_token_of_a_row_and_its_last_wait_for_nothing() -> None:
    short, long = (1,), (2,) * 300  # the long one is read in two steps, while the other speaks
    batches = FakeBatches({short: (5, 6, 7, 8, 9, END_TOKEN), (2,): (6, 7, 8, 9, 5, END_TOKEN)}, END_TOKEN)
    wire = _Wire([packed(Ask(Row(0, short, 100))) + packed(Ask(Row(1, long, 100)))])
    line = _Line(cast("socket.socket", wire), _NEVER)
    line.send(b"")
    with pytest.raises(ConnectionError):
        _run(line, batches)
    heaps = [[(one.row, one.token) for one in heap] for heap in map(_steps, wire.sent) if heap]
    assert heaps == [
        [(0, 5)],
        [(0, 6), (1, 6)],
        [(0, 7), (1, 7), (0, 8), (1, 8), (0, 9), (1, 9), (0, END_TOKEN), (1, 5)],
        [(1, END_TOKEN)],
    ]


@pytest.mark.parametrize(
    ("milliseconds", "a_second"), [(1, 30), (7, 30), (17, 30), (25, 30), (32, 30), (40, 25), (250, 4)]
)
def test_steps_go_out_thirty_times_a_second_however_long_they_take(milliseconds: int, a_second: int) -> None:
    wire, now = _Wire([]), 1000.0
    line = _Line(cast("socket.socket", wire), 1 / 30, lambda: now)
    line.send(b"")
    steps = 60_000 // milliseconds
    for _ in range(steps):
        now += milliseconds / 1000
        line.tell(b".", at_once=False)
    assert len(wire.sent) - 1 == pytest.approx(a_second * 60, rel=0.02)
    line.flush()
    assert b"".join(wire.sent) == b"." * steps


def _steps(data: bytes) -> list[RowStep]:
    """Return all that was told in what was sent at once."""
    frames, found = Frames(), list[RowStep]()
    frames.feed(data)
    while (frame := frames.next()) is not None:
        message = for_parent(frame)
        assert isinstance(message, Stepped)
        found += message.steps
    return found
