"""The deltas of a model process are sent soon, and before anything that takes long."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Generator, Iterator
from typing import cast

import attrs
import pytest

from mlxknife.adapters.worker.child.heartbeat import Deadline
from mlxknife.adapters.worker.child.line import Line
from mlxknife.adapters.worker.child.loop import Loop, StepCounter
from mlxknife.adapters.worker.frames import Frames
from mlxknife.adapters.worker.protocol import (
    Deltas,
    Generate,
    Heartbeat,
    RequestAccepted,
    ToParent,
    decode_for_parent,
    packed,
)
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind
from mlxknife.domain.generation.values.request import GenerationRequest

_NEVER = 1e12
"""An interval that does not end."""


def delta(text: str, reason: FinishReason | None = None, index: int = 0) -> Delta:
    return Delta(index, (TextDelta(TextKind.ANSWER, text),), finish_reason=reason)


@attrs.define
class _Socket:
    """Has the bytes of a test to read, and notes what is sent; it is closed where a read would wait."""

    received: list[bytes]
    sent: list[bytes] = attrs.field(factory=list, init=False)

    def recv(self, _size: int, flags: int) -> bytes:
        if self.received:
            return self.received.pop(0)
        if flags & socket.MSG_DONTWAIT:
            raise BlockingIOError
        return b""

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)

    def messages(self) -> list[list[ToParent]]:
        return [list(_messages(data)) for data in self.sent]


def _messages(data: bytes) -> Iterator[ToParent]:
    frames = Frames()
    frames.feed(data)
    while (frame := frames.next()) is not None:
        yield decode_for_parent(frame)


def line_to(fake: _Socket, interval: float = _NEVER) -> Line:
    return Line(cast("socket.socket", fake), interval)


def test_deltas_of_an_answer_are_joined_and_keep_their_order() -> None:
    fake = _Socket([])
    line = line_to(fake)
    line.hold(1, delta("a"))
    line.hold(2, delta("x"))
    line.hold(1, delta("b", FinishReason.STOP))
    assert fake.sent == []
    line.send(RequestAccepted(3, 7))
    assert fake.messages() == [
        [Deltas(((1, delta("ab", FinishReason.STOP)), (2, delta("x")))), RequestAccepted(3, 7)],
    ]


def test_the_deltas_of_a_cancelled_request_are_dropped() -> None:
    fake = _Socket([])
    line = line_to(fake)
    line.hold(1, delta("a"))
    line.hold(2, delta("x"))
    line.drop(1)
    line.send()
    line.send()
    assert fake.messages() == [[Deltas(((2, delta("x")),))]]


def test_a_heartbeat_is_sent_by_itself() -> None:
    fake = _Socket([])
    line = line_to(fake)
    line.hold(1, delta("a"))
    line.beat(5)
    assert fake.messages() == [[Heartbeat(5)]]


@attrs.define
class _Engine:
    """Gives the events of each step that a test wrote."""

    steps: list[list[tuple[int, Delta | KnifeError]]]
    notes: tuple[str, ...] = ()

    @property
    def is_idle(self) -> bool:
        return not self.steps

    def render(self, request: GenerationRequest) -> None:
        del request

    def tokenize(self, request: GenerationRequest, rendered: None) -> None:
        del request, rendered

    def submit(self, request_id: int, prepared: None) -> Accepted:
        del prepared
        return Accepted(request_id)

    def cancel(self, request_id: int) -> None:
        del request_id

    def step(self) -> list[tuple[int, Delta | KnifeError]]:
        return self.steps.pop(0)

    def close(self) -> None:
        return


def test_the_first_and_the_last_delta_of_an_answer_do_not_wait() -> None:
    steps: list[list[tuple[int, Delta | KnifeError]]] = [
        [(1, delta("a"))],
        [(1, delta("b"))],
        [(1, delta("c")), (2, delta("x"))],
        [(1, delta("d")), (2, delta("y"))],
        [(1, delta("e", FinishReason.STOP)), (2, delta("z"))],
        [(2, delta("", FinishReason.STOP))],
    ]
    ours, theirs = socket.socketpair()
    sent = _Socket([])
    with ours, theirs:
        line = Line(ours, _NEVER)
        line._write = sent.sendall  # type: ignore[method-assign] # noqa: SLF001 - notes what is sent
        theirs.shutdown(socket.SHUT_WR)
        loop = Loop(line, _Engine(steps), Deadline("Tokenizing", 10), StepCounter())
        for _ in range(len(steps)):
            loop._step()  # noqa: SLF001 - the loop itself would read the closed socket first
    deltas = [
        [(one, part.texts[0].text) for one, part in message.items]
        for (message,) in sent.messages()
        if isinstance(message, Deltas)
    ]
    assert deltas == [
        [(1, "a")],
        [(1, "bc"), (2, "x")],
        [(1, "de"), (2, "yz")],
        [(2, "")],
    ]


@pytest.mark.parametrize(
    ("milliseconds", "a_second"), [(1, 30), (7, 30), (17, 30), (25, 30), (32, 30), (40, 25), (250, 4)]
)
def test_deltas_are_sent_thirty_times_a_second_however_long_a_step_takes(milliseconds: int, a_second: int) -> None:
    fake, now = _Socket([]), 1000.0
    line = Line(cast("socket.socket", fake), 1 / 30, lambda: now)
    line.hold(1, delta("."))
    line.send()
    steps = 60_000 // milliseconds
    for _ in range(steps):
        now += milliseconds / 1000
        line.hold(1, delta("."))
        line.send_when_due()
    assert len(fake.sent) - 1 == pytest.approx(a_second * 60, rel=0.02)
    line.send()
    texts = [
        part.texts[0].text
        for message in itertools.chain(*fake.messages())
        if isinstance(message, Deltas)
        for _, part in message.items
    ]
    assert "".join(texts) == "." * (steps + 1)


def test_a_frame_in_the_buffer_does_not_wait_for_another() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(ours)
        request = Generate.of(4, GenerationRequest(prompts=("a",)))
        theirs.sendall(packed(request) * 2)
        received = line.received(may_wait=True)
        assert next(received) == request
        assert isinstance(received, Generator)
        received.close()
        assert list(line.received(may_wait=True)) == [request]


def test_a_wake_up_ends_the_wait() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(ours)
        line.wake()
        assert list(line.received(may_wait=True)) == []
