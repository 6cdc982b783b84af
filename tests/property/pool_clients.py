"""Clients of a model pool for the state machine: each checks what it receives, and may react inside the callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.answer import Delta, GenerationEvent
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.ports.engines.processes import ModelProcess

Reaction: TypeAlias = Callable[["PoolClient"], None]
"""What a client does inside a callback."""


@attrs.define(eq=False, repr=False)
class ReceivedEvents:
    """The events of one request."""

    client: PoolClient
    request: GenerationRequest
    is_accepted: bool = False
    ended: set[int] = attrs.field(factory=set)
    error: KnifeError | None = None
    is_cancelled: bool = False

    @property
    def answers(self) -> int:
        return self.request.answer_count

    @property
    def is_over(self) -> bool:
        """Whether no further event may come."""
        return self.is_cancelled or self.error is not None or len(self.ended) == self.answers

    def receive(self, event: GenerationEvent | KnifeError) -> None:
        assert not self.is_over, "a request that is over gets no event"
        if isinstance(event, KnifeError):
            self.error = event
        elif isinstance(event, Accepted):
            assert not self.is_accepted
            self.is_accepted = True
        else:
            self._receive_delta(event)
        if self.is_over:
            self.client.react()

    def _receive_delta(self, delta: Delta) -> None:
        assert self.is_accepted, "the first event is Accepted"
        assert delta.index not in self.ended
        if delta.finish_reason is not None:
            self.ended.add(delta.index)


@attrs.define(eq=False, repr=False)
class PoolClient:
    """Asks for one lease."""

    name: str
    is_queued: bool
    """Whether it has to wait in the queue for memory."""
    check_error: Callable[[PoolClient, KnifeError], None]
    """Called with the error that it gets in the place of a lease."""
    reaction: Reaction | None = None
    """What it does inside the first callback, and again when a request of it is over."""
    replies: list[Lease | KnifeError] = attrs.field(factory=list)
    requests: list[ReceivedEvents] = attrs.field(factory=list)
    process: ModelProcess | None = None
    """The process that its lease was granted on."""
    withdraw: Callable[[], None] | None = None
    is_withdrawn: bool = False
    is_released: bool = False

    @property
    def is_waiting(self) -> bool:
        return not self.replies and not self.is_withdrawn

    @property
    def lease(self) -> Lease | None:
        """The lease that it holds."""
        reply = self.replies[0] if self.replies else None
        return reply if isinstance(reply, Lease) and not self.is_released else None

    @property
    def error(self) -> KnifeError | None:
        """The error in the place of a lease."""
        reply = self.replies[0] if self.replies else None
        return reply if isinstance(reply, KnifeError) else None

    def receive(self, reply: Lease | KnifeError) -> None:
        """Take the reply of the pool."""
        assert not self.is_withdrawn, "a withdrawn client gets no reply"
        assert not self.replies, "a client gets one reply"
        self.replies.append(reply)
        if isinstance(reply, Lease):
            self.process = reply.loaded.process
        else:
            self.check_error(self, reply)
        self.react()

    def react(self) -> None:
        if self.reaction is not None:
            self.reaction(self)

    def give_up(self) -> None:
        """Withdraw; after a reply this changes nothing."""
        if self.withdraw is not None:  # ``acquire`` has returned
            self.is_withdrawn = self.is_withdrawn or self.is_waiting
            self.withdraw()

    def submit(self, request: GenerationRequest) -> None:
        assert self.lease is not None
        received = ReceivedEvents(self, request)
        self.requests.append(received)
        self.lease.submit(request, received.receive)

    def cancel(self) -> None:
        """Cancel every request."""
        assert self.lease is not None
        self._expect_nothing()
        self.lease.cancel()

    def release(self) -> None:
        """Release the lease, twice: the second time changes nothing."""
        lease = self.lease
        assert lease is not None
        self._expect_nothing()
        self.is_released = True
        lease.release()
        lease.release()

    def _expect_nothing(self) -> None:
        for received in self.requests:
            received.is_cancelled = received.is_cancelled or not received.is_over
