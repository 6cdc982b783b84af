"""One process of a model, from the side that started it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from mlxknife.adapters.worker.parent.channel import Channel
from mlxknife.adapters.worker.parent.heartbeat import Limits, Watch
from mlxknife.adapters.worker.parent.process import ModelProcess, ending
from mlxknife.adapters.worker.protocol import Ask, Beat, Drop, Failed, Ready, Stepped, ToParent, packed
from mlxknife.domain.errors import KnifeError, ValidationError, WorkerLost
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving.values.processes import Fell, HostEvent, Loaded

_LARGEST = 2**63
"""One more than the largest number of a token that can be sent; every model has fewer."""
_MAX_WORDS = 500


class WorkerHost:
    """See ``Host``. It is open until it is closed or falls; after that nothing is told, only cleared away."""

    def __init__(
        self,
        process: ModelProcess,
        connection: socket.socket,
        start: bytes,
        limits: Limits,
        on_event: Callable[[HostEvent], None],
    ) -> None:
        """Take a process that was just started, the socket to it, and what it is to be told first."""
        self._process = process
        self._on_event = on_event
        self._is_open = True
        self._rows: set[int] = set()
        """Those of which more will be told."""
        self._channel = Channel(connection, self._hear, self._lose)
        self._watch = Watch(limits, self._look, self._fall)
        self._channel.send(start)

    @property
    def process_id(self) -> int | None:
        """See ``Host.process_id``."""
        return self._process.number

    def submit(self, row: Row) -> None:
        """See ``Host.submit``."""
        if not self._is_open:
            return
        try:
            message = packed(Ask(row))
        except OverflowError:
            asyncio.get_running_loop().call_soon(self._refuse, row)
            return
        if not self._rows:
            self._watch.got_on(is_at_work=True)
        self._rows.add(row.id)
        self._channel.send(message)

    def cancel(self, row_id: int) -> None:
        """See ``Host.cancel``."""
        if not self._is_open or row_id not in self._rows:
            return
        self._forget({row_id})
        self._channel.send(packed(Drop(row_id)))

    def close(self) -> None:
        """See ``Host.close``."""
        if self._is_open:
            self._let_go()
            self._process.end()

    def _hear(self, message: ToParent) -> None:
        self._watch.heard()
        match message:
            case Stepped():
                self._step(message.step())
            case Beat():
                pass
            case Ready():
                self._watch.loaded()
                self._on_event(Loaded(message.model, message.seconds))
            case Failed():
                self._fall(message.trouble.error())

    def _step(self, step: BatchStep) -> None:
        done = {one.row for one in step.steps if one.ended is not None}
        done.update(error.row for error in step.errors)
        self._forget(done)
        if step.steps or step.errors:
            self._on_event(step)

    def _forget(self, done: set[int]) -> None:
        self._rows -= done
        self._watch.got_on(is_at_work=bool(self._rows))

    def _refuse(self, row: Row) -> None:
        """Tell that a row is nothing that could be sent."""
        if not self._is_open:
            return
        error = ValidationError("prompt is too long to be read", param="prompt")
        try:
            row.check_vocabulary(_LARGEST)
        except ValidationError as exc:
            error = exc
        self._on_event(Stepped.refusing(row.id, error).step())

    def _look(self) -> None:
        """Read what is there, so that nobody counts as silent who was not listened to."""
        self._process.allow_more_words()
        self._channel.read()

    def _lose(self, error: KnifeError | None) -> None:
        """Find out how the process ended, and tell it."""
        self._watch.close()
        self._channel.close()
        self._process.end(lambda status: self._fall(error or self._obituary(status)))

    def _fall(self, error: KnifeError) -> None:
        if not self._is_open:
            return
        self._let_go()
        self._process.end()
        self._on_event(Fell(error))

    def _let_go(self) -> None:
        self._is_open = False
        self._rows.clear()
        self._watch.close()
        self._channel.close()

    def _obituary(self, status: int | None) -> WorkerLost:
        words = self._process.words()
        msg = f"The process of the model {ending(status)}"
        last = words.rpartition("\n")[2]
        if len(last) > _MAX_WORDS:  # no word of it is cut: half a token would not be known for one
            last = last[-_MAX_WORDS:].partition(" ")[2]
        if last:
            msg += f"; it last wrote: {last}"
        hint = HintCode.RETRY_STARTS_PROCESS
        if status == -signal.SIGKILL:
            hint = HintCode.KILLED_FOR_MEMORY
        error = WorkerLost(msg, hint=hint)
        if words:
            error.add_note(words)
        return error
