"""The door: who may come in. The gate asks it of every request, and the doorman of those who come in a crowd."""

from __future__ import annotations

from mlxknife.domain.errors import KnifeError
from mlxknife.http import logs
from mlxknife.http.errors import Failure, Headers, failure
from mlxknife.http.front import Front
from mlxknife.http.guards.bodies import BodyGuard
from mlxknife.http.guards.hosts import HostGuard
from mlxknife.http.guards.keys import KeyGuard
from mlxknife.http.guards.origins import OriginGuard
from mlxknife.http.visit import Head, Visit

_ASKING = ("/v1/chat/completions", "/v1/completions")
"""What asks a model, and needs a place."""
ROUTES = (*_ASKING, "/v1/models", "/health", "/ready", "/metrics", "/openapi.json")


class Door:
    """The guards of one application, in their order."""

    def __init__(self, front: Front) -> None:
        """Guard a front as its options say."""
        options = front.options
        self.front = front
        self._secrets = (options.api_key,) if options.api_key else ()
        self._hosts = HostGuard.of(options)
        self._origins = OriginGuard.of(options)
        self._keys = KeyGuard.of(options)
        self._sizes = BodyGuard.of(options)

    def admit(self, head: Head, path: str) -> Headers | None:
        """Let a request in, or return the headers for a browser that only asks whether it may call.

        ``path`` is that of the request as our routes have it. Raises Refusal, Stopping or Full.
        """
        preflight = self._passed(head)
        if preflight is not None:
            return preflight
        if asks_a_model(head, path):
            self.front.check_place()  # here, and not where it is answered: refusing must cost little
        self._sizes(head)
        return None

    def is_open_to(self, head: Head) -> bool:
        """Tell whether a request may come in, if there is a place for it."""
        try:
            return self._passed(head) is None
        except KnifeError:
            return False

    def _passed(self, head: Head) -> Headers | None:
        """Let a request past the guards who look at whose it is."""
        self._hosts(head)
        self._origins(head)
        preflight = self._origins.preflight(head)
        if preflight is None:
            self._keys(head)
        return preflight

    def failure(self, error: Exception, visit: Visit) -> Failure:
        """Return what a client is told of an error."""
        visit.detail = visit.detail or str(error)
        return failure(error, visit.request_id, self._secrets)

    def headers(self, visit: Visit) -> Headers:
        """Return what every answer carries."""
        return (
            (b"x-request-id", visit.request_id.encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            *self._origins.headers(visit.head),
        )

    def note(self, visit: Visit, status: int) -> None:
        """Count a request that came to its end, and log it."""
        self.front.metrics.visited(_route(visit.head.path), status, visit.seconds)
        logs.access(visit, status)


def asks_a_model(head: Head, path: str) -> bool:
    """Tell whether a request needs a place; ``path`` is its path as our routes have it."""
    return head.method == "POST" and path in _ASKING


def _route(path: str) -> str:
    """Name the endpoint for the numbers: as few names as there are endpoints, whatever is asked."""
    return next((route for route in ROUTES if path.endswith(route) or f"{route}/" in path), "other")
