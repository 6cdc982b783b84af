"""The doorman: takes the clients of a server in, and turns a crowd away at the door before anything is made for it.

A server that is full has to say so at once, to a thousand clients in the same instant too. So whoever comes is looked
at, on the bare socket, and where all there is to say is that there is no place, that is said and the socket closed.
Everybody else is led in to a connection, which reads the same bytes again. Those who are led in make work; while others
still come, who may only have to be turned away, most of them wait in the hall.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias, cast

import attrs
from uvicorn.server import ServerState

from mlxknife.http.connection import Connection, last_words
from mlxknife.http.door import Door, asks_a_model
from mlxknife.http.plain import LARGEST, plain_post
from mlxknife.http.refusals import Full
from mlxknife.http.visit import Head, Visit, begin

_MOST_AT_ONCE = 256
"""How many are greeted in one turn of the loop."""
_FEW = 4
"""How many are led in in one turn of the loop, and how many refusals are noted in it."""
_GLANCE = 0.002
_PATIENCE = 0.1
"""Seconds for which somebody waits in the hall, or a note, while others come."""
_REST = 1.0
"""Seconds for the system to find what it has run out of."""
_NOTHING_SAID = Head("", "", [])
_RUN_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


Connect: TypeAlias = Callable[[object, float], Connection]


@attrs.frozen(eq=False)
class _Guest:
    """Somebody who is let in."""

    socket: socket.socket
    since: float


@attrs.frozen(eq=False)
class _Told:
    """Somebody who was turned away, to be noted when there is time."""

    visit: Visit
    status: int
    since: float


class Doorman:
    """Stands at the listening sockets of one server."""

    def __init__(self, door: Door, connect: Connect, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        """Stand nowhere yet. ``connect`` makes the connection for somebody who has come at some time."""
        self._door = door
        self._connect = connect
        self._state = state
        self._loop = loop
        self._silent = dict[socket.socket, float]()
        """Who has not said anything yet, and since when."""
        self._ears = selectors.DefaultSelector()
        """Hears when one of them does: for so many who stay so shortly, the loop's own way costs too much."""
        self._is_timed = False
        self._hall = deque[_Guest]()
        self._turned_away = deque[_Told]()
        self._have_come = 0
        """How many wanted a place since those in the hall were looked after."""
        self._is_looking_after = False
        self._led_in = dict[asyncio.Task[object], _Guest]()
        """Who is on the way from the door to their connection."""

    def stand_at(self, listener: socket.socket) -> None:
        """Take in whoever comes to a listening socket, in the place of the loop's own way."""
        self._loop.add_reader(listener, self._greet, listener)
        self._loop.add_reader(self._ears, self._listen)

    def leave(self) -> None:
        """Lead in whoever has asked something, note what is not noted yet, and let the others go."""
        self._loop.remove_reader(self._ears)
        self._ears.close()
        for client in self._silent:
            client.close()
        self._silent.clear()
        while self._hall:
            self._lead_in(self._hall.popleft())
        while self._turned_away:
            self._note()

    def _greet(self, listener: socket.socket) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                client, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _RUN_OUT:
                    raise
                self._loop.remove_reader(listener)
                self._loop.call_later(_REST, self._come_back_to, listener)
                return
            client.setblocking(False)  # noqa: FBT003 - it has no name
            if len(self._state.connections) + len(self._silent) + len(self._hall) >= self._most_connections:
                self._tell(client, begin(_NOTHING_SAID), Full("There are too many connections"))
                continue
            data = _said_by(client)
            if data is None:
                self._wait_for(client)
            else:
                self._receive(client, data, self._loop.time())

    @property
    def _most_connections(self) -> int:
        return self._door.front.options.max_connections

    def _come_back_to(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self.stand_at(listener)

    def _wait_for(self, client: socket.socket) -> None:
        """Wait until a client says something, or for as long as a head may take."""
        self._silent[client] = self._loop.time()
        self._ears.register(client, selectors.EVENT_READ)
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_later(self._head_seconds, self._let_go)

    @property
    def _head_seconds(self) -> float:
        return self._door.front.options.header_seconds

    def _listen(self) -> None:
        for key, _ in self._ears.select(0):
            client = cast("socket.socket", key.fileobj)
            data = _said_by(client)
            if data is not None:
                self._ears.unregister(client)
                self._receive(client, data, self._silent.pop(client))

    def _let_go(self) -> None:
        """Let those go who said nothing for too long; they stand in the order in which they came."""
        now = self._loop.time()
        for client, since in list(self._silent.items()):
            if since + self._head_seconds > now:
                self._loop.call_at(since + self._head_seconds, self._let_go)
                return
            self._ears.unregister(client)
            del self._silent[client]
            client.close()
        self._is_timed = False

    def _receive(self, client: socket.socket, data: bytes, since: float) -> None:
        """Turn a client away, or let it in."""
        if not data:
            client.close()
            return
        head = plain_post(data)
        if head is None or not asks_a_model(head, head.path):
            self._lead_in(_Guest(client, since))
            return
        full = self._door.refusal_of_newcomer(head)
        if full is None:
            self._let_in(_Guest(client, since))
        else:
            client.recv(len(data))  # what was not read when a socket is closed takes the answer with it
            self._turn_away(client, begin(head), full)

    def _turn_away(self, client: socket.socket, visit: Visit, full: Full) -> None:
        status = self._tell(client, visit, full)
        self._turned_away.append(_Told(visit, status, self._loop.time()))
        self._look_after_them_later()

    def _tell(self, client: socket.socket, visit: Visit, full: Full) -> int:
        failed = self._door.failure(full, visit)
        with suppress(OSError):
            client.send(last_words(failed, (*self._state.default_headers, *self._door.headers(visit))))
        client.close()
        visit.end()
        return failed.status

    def _let_in(self, guest: _Guest) -> None:
        """Let in somebody who takes a place."""
        self._door.front.expect(guest)
        if self._have_come < _FEW and not self._hall:
            self._lead_in(guest)
        else:
            self._hall.append(guest)
        self._look_after_them_later()

    def _look_after_them_later(self) -> None:
        self._have_come += 1
        if not self._is_looking_after:
            self._is_looking_after = True
            self._loop.call_later(_GLANCE, self._look_after_them)

    def _look_after_them(self) -> None:
        """Go on with a few of those in the hall and of the notes; while many come, only with what has waited long."""
        is_quiet, self._have_come = self._have_come <= _FEW, 0
        latest = self._loop.time() - _PATIENCE
        for _ in range(_FEW):
            if self._hall and (is_quiet or self._hall[0].since < latest):
                self._lead_in(self._hall.popleft())
            if self._turned_away and is_quiet:
                self._note()
        while self._turned_away and self._turned_away[0].since < latest:
            self._note()
        self._is_looking_after = bool(self._hall or self._turned_away or not is_quiet)
        if self._is_looking_after:
            self._loop.call_later(0 if is_quiet else _GLANCE, self._look_after_them)

    def _note(self) -> None:
        told = self._turned_away.popleft()
        self._door.note(told.visit, told.status)

    def _lead_in(self, guest: _Guest) -> None:
        """Hand a client over to its connection."""
        work = self._loop.connect_accepted_socket(lambda: self._connect(guest, guest.since), guest.socket)
        task: asyncio.Task[object] = asyncio.ensure_future(work, loop=self._loop)
        self._led_in[task] = guest
        task.add_done_callback(self._has_led_in)

    def _has_led_in(self, task: asyncio.Task[object]) -> None:
        guest = self._led_in.pop(task)
        if task.cancelled() or task.exception() is not None:  # the system says so where a client is gone already
            self._door.front.forget(guest)
            guest.socket.close()


def _said_by(client: socket.socket) -> bytes | None:
    """Return what a client has said, without taking it: None where that is nothing yet, nothing where it is gone."""
    try:
        return client.recv(LARGEST, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
