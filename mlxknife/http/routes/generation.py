"""What both endpoints that ask a model do: hold a place, read the body, answer."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from starlette.types import Receive, Scope, Send

from mlxknife.http.exchange import Exchange, Order
from mlxknife.http.front import Front
from mlxknife.http.guards.bodies import check_kind
from mlxknife.http.visit import NEWCOMER, visit_of


@attrs.frozen
class Generation:
    """An endpoint that asks a model, as an ASGI application."""

    front: Front
    order: Callable[[bytes], Order]
    """Reads a body of this endpoint."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises KnifeError where nothing has been sent yet."""
        visit = visit_of(scope)
        with self.front.bodies.counted() as account:
            check_kind(visit.head)
            body = await account.read(receive)
            with self.front.place(scope.get(NEWCOMER)):  # only now: who sends slowly holds up nobody
                order = self.order(body)
                del body
                await Exchange(self.front, visit, order, account, send).run(receive)
