"""The model of one request: found by its name, leased from the pool, and asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from mlxknife.domain.catalog.services.runnable import check_kind
from mlxknife.domain.engines.values import EngineKind, Event, Request
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModel
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.state import ServerState

EventT = TypeVar("EventT", bound=Event)


@asynccontextmanager
async def leased(state: ServerState, context: RequestContext, name: str, kind: EngineKind) -> AsyncIterator[Lease]:
    """Yield a lease of the model that a request names; after the block its requests are cancelled.

    Raises KnifeError, among them ModelNotRunnable for a model of another kind.
    """
    model = state.servable.known(name)
    if model is None:
        model = await state.in_thread(state.servable.find, name)
    context.model = model.name
    check_kind(model.info, kind)
    lease = await acquire(state.pool, model)
    try:
        yield lease
    finally:
        lease.release()


async def acquire(pool: ModelPool, model: ServableModel) -> Lease:
    """Wait for a lease of a model. Raises KnifeError; a cancelled wait leaves no lease behind."""
    granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()

    def on_lease(result: Lease | KnifeError) -> None:
        if isinstance(result, KnifeError):
            if not granted.done():
                granted.set_exception(result)
        elif granted.done():
            result.release()
        else:
            granted.set_result(result)

    withdraw = pool.acquire(model, on_lease)
    try:
        return await granted
    except asyncio.CancelledError:
        withdraw()
        if not granted.cancelled() and granted.exception() is None:  # the lease came while the wait was cancelled
            granted.result().release()
        raise


async def answers(lease: Lease, request: Request[EventT], on_event: Callable[[EventT], None]) -> None:
    """Submit a request, and return when each of its answers has ended. ``on_event`` is called with each event.

    Raises KnifeError, and what ``on_event`` raises.
    """
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = request.answer_count

    def receive(event: EventT | KnifeError) -> None:
        nonlocal left
        if ended.done():
            return
        if isinstance(event, KnifeError):
            ended.set_exception(event)
            return
        try:
            on_event(event)
        except Exception as exc:  # noqa: BLE001 - the coroutine that waits raises it
            ended.set_exception(exc)
            return
        left -= event.ends_answer
        if not left:
            ended.set_result(None)

    lease.submit(request, receive)
    await ended
