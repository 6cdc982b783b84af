"""What a model's process has to say goes out soon, and before it begins what takes long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mlxknife.adapters.worker import child
from mlxknife.adapters.worker.child import _Line


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Line, socket.socket]]:
    monkeypatch.setattr(child, "_SOON", 3600.0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield _Line(ours), theirs


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
