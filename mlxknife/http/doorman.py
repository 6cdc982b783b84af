"""The doorman: takes the clients of a server in, and turns a crowd away at the door before anything is made for it.

A server that is full has to say so at once, to a thousand clients in the same instant too. So whoever comes is looked
at, on the bare socket, and where many come and all there is to say is that there is no place, that is said and the
socket closed. Everybody else is led in to a connection, which reads the same bytes again. Those who are led in make
work; while many come, of whom most may only have to be turned away, they wait in the hall.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeAlias, cast

import attrs
from uvicorn.server import ServerState

from mlxknife.http import logs
from mlxknife.http.connection import Connection, last_words
from mlxknife.http.door import Door, asks_a_model
from mlxknife.http.plain import LARGEST, plain_post
from mlxknife.http.refusals import Full
from mlxknife.http.visit import Head, Visit, begin

_MOST_AT_ONCE = 256
"""How many are greeted, or heard, in one turn of the loop."""
_GLANCE = 0.002
"""Seconds between two looks at those in the hall."""
_FEW = 4
"""How many who want a place may come within a glance and be no crowd. As many are led in from the hall in one."""
_PATIENCE = 0.1
"""Seconds for which a crowd goes before those in the hall, and the rest of a request is waited for at the door."""
_REST = 1.0
"""Seconds for the system to find what it has run out of."""
_RUN_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOTHING_SAID = Head("", "", [])

Connect: TypeAlias = Callable[[object, float], Connection]


@attrs.frozen(eq=False)
class _Guest:
    """Somebody who has come."""

    socket: socket.socket
    came: float


@attrs.frozen(eq=False)
class _Wait:
    """Somebody who stands at the door, because nothing was said yet or not everything, and until when."""

    guest: _Guest
    has_spoken: bool
    timer: asyncio.TimerHandle


class Doorman:
    """Stands at the listening sockets of one server."""

    def __init__(self, door: Door, connect: Connect, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        """Stand nowhere yet. ``connect`` makes the connection for somebody who came at some time."""
        self._door = door
        self._connect = connect
        self._state = state
        self._loop = loop
        self._at_the_door = dict[socket.socket, _Wait]()
        self._ears = selectors.DefaultSelector()
        """Hears when one of them speaks: for so many who stay so shortly, the loop's own way costs too much."""
        self._hall = deque[tuple[_Guest, float]]()
        """Who is let in and waits, and since when."""
        self._on_their_way = dict[asyncio.Task[object], _Guest]()
        """Who is led to a connection."""
        self._turned_away = deque[tuple[Visit, int, float]]()
        """Who was told what, and when; to be noted when there is time."""
        self._have_come = 0
        """How many wanted a place since the last glance."""
        self._is_crowd = False
        self._is_looking = False

    def stand_at(self, listeners: Sequence[socket.socket]) -> None:
        """Take in whoever comes to listening sockets, in the place of the loop's own way."""
        self._loop.add_reader(self._ears, self._hear)
        for listener in listeners:
            self._loop.add_reader(listener, self._greet, listener)

    def leave(self) -> None:
        """Lead in whoever has asked something, note what is not noted yet, and let the others go."""
        for client in list(self._at_the_door):
            self._give_up(client)
        self._loop.remove_reader(self._ears)
        self._ears.close()
        while self._hall:
            self._lead_in(self._hall.popleft()[0])
        while self._turned_away:
            self._note_refusal()

    def _greet(self, listener: socket.socket) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                client, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _RUN_OUT:
                    raise
                logs.exhausted(exc, _REST)
                self._loop.remove_reader(listener)
                self._loop.call_later(_REST, self._come_back_to, listener)
                return
            client.setblocking(False)  # noqa: FBT003 - it has no name
            if self._is_house_full:
                self._tell(client, begin(_NOTHING_SAID), Full("There are too many connections"))
            else:
                self._look_at(_Guest(client, self._loop.time()))

    @property
    def _is_house_full(self) -> bool:
        inside = len(self._state.connections) + len(self._on_their_way) + len(self._hall) + len(self._at_the_door)
        return inside >= self._door.front.options.max_connections

    def _come_back_to(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._greet, listener)

    def _look_at(self, guest: _Guest, *, again: bool = False) -> None:
        """Decide about somebody by what is said so far. Nobody is waited for twice to say the rest."""
        data = _said_by(guest.socket)
        if data is None:
            self._wait_for(guest, guest.came + self._door.front.options.header_seconds, has_spoken=False)
            return
        if not data:
            guest.socket.close()
            return
        post = plain_post(data)
        if post is None or not asks_a_model(post.head, post.head.path) or not self._door.is_open_to(post.head):
            self._lead_in(guest)
        elif post.size == len(data):
            self._receive(guest, post.head)
        elif again:
            self._lead_in(guest)
        else:
            _wake_at(guest.socket, post.size)
            self._wait_for(guest, self._loop.time() + _PATIENCE, has_spoken=True)

    def _wait_for(self, guest: _Guest, until: float, *, has_spoken: bool) -> None:
        """Let somebody stand at the door, for some time."""
        try:
            self._ears.register(guest.socket, selectors.EVENT_READ)
        except OSError:  # the system takes no more
            guest.socket.close()
            return
        timer = self._loop.call_at(until, self._give_up, guest.socket)
        self._at_the_door[guest.socket] = _Wait(guest, has_spoken, timer)

    def _wait_no_more(self, client: socket.socket) -> _Wait:
        self._ears.unregister(client)
        wait = self._at_the_door.pop(client)
        wait.timer.cancel()
        return wait

    def _hear(self) -> None:
        for key, _ in islice(self._ears.select(0), _MOST_AT_ONCE):
            wait = self._wait_no_more(cast("socket.socket", key.fileobj))
            self._look_at(wait.guest, again=wait.has_spoken)

    def _give_up(self, client: socket.socket) -> None:
        """Let a connection see to the rest of what was said; where nothing was, let the client go."""
        wait = self._wait_no_more(client)
        if wait.has_spoken:
            self._lead_in(wait.guest)
        else:
            client.close()

    def _receive(self, guest: _Guest, head: Head) -> None:
        """Let somebody in whose request is whole; of a crowd turn those away for whom there will be no place."""
        self._have_come += 1
        self._is_crowd = self._is_crowd or self._have_come > _FEW
        has_room = self._door.front.has_room_for_newcomers
        if has_room:
            self._door.front.expect(guest)
        if has_room and (self._is_crowd or self._hall):
            self._hall.append((guest, self._loop.time()))
        elif self._is_crowd:
            self._turn_away(guest, head)
        else:
            self._lead_in(guest)  # also where no place is left: one may be free soon, or the connection may stay
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(_GLANCE, self._look_around)

    def _turn_away(self, guest: _Guest, head: Head) -> None:
        visit = begin(head)
        status = self._tell(guest.socket, visit, self._door.front.refuse())
        self._turned_away.append((visit, status, self._loop.time()))

    def _tell(self, client: socket.socket, visit: Visit, full: Full) -> int:
        failed = self._door.failure(full, visit)
        with suppress(OSError):
            client.recv(LARGEST)  # what was not read when a socket is closed takes the answer with it
        with suppress(OSError):
            client.send(last_words(failed, (*self._state.default_headers, *self._door.headers(visit))))
        client.close()
        visit.end()
        return failed.status

    def _look_around(self) -> None:
        """Go on with a few in the hall and a few notes; while a crowd comes, only with those that waited long."""
        if not (self._have_come or self._hall or self._turned_away):
            self._is_looking = False
            return
        self._loop.call_later(_GLANCE, self._look_around)
        self._is_crowd, self._have_come = self._have_come > _FEW, 0
        latest = self._loop.time() - _PATIENCE
        for _ in range(_FEW):
            if self._hall and (not self._is_crowd or self._hall[0][1] < latest):
                self._lead_in(self._hall.popleft()[0])
            if self._turned_away and not self._is_crowd:
                self._note_refusal()
        while self._turned_away and self._turned_away[0][2] < latest:
            self._note_refusal()

    def _note_refusal(self) -> None:
        visit, status, _ = self._turned_away.popleft()
        self._door.note(visit, status)

    def _lead_in(self, guest: _Guest) -> None:
        """Hand a client over to its connection."""
        _wake_at(guest.socket, 1)
        work = self._loop.connect_accepted_socket(lambda: self._connect(guest, guest.came), guest.socket)
        task: asyncio.Task[object] = asyncio.ensure_future(work, loop=self._loop)
        self._on_their_way[task] = guest
        task.add_done_callback(self._arrive)

    def _arrive(self, task: asyncio.Task[object]) -> None:
        guest = self._on_their_way.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._door.front.forget(guest)
            guest.socket.close()
        if error is not None and not isinstance(error, OSError):  # that one says that the client is gone already
            raise error


def _wake_at(client: socket.socket, size: int) -> None:
    """Let a client be heard only when so many bytes are there."""
    with suppress(OSError):  # some systems say so where it is gone, which is heard anyhow
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


def _said_by(client: socket.socket) -> bytes | None:
    """Return what a client has said, without taking it: None where that is nothing yet, nothing where it is gone."""
    try:
        return client.recv(LARGEST, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
