"""Whose page a request comes from. Browsers say so; nobody else needs to."""

from __future__ import annotations

import re

import attrs

from mlxknife.http.options import Options
from mlxknife.http.refusals import OriginRefused
from mlxknife.http.visit import Head

_PORTS = {"http": ":80", "https": ":443"}
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{0,1024}")
_ALWAYS = ((b"access-control-expose-headers", b"X-Request-ID, Retry-After"), (b"vary", b"Origin"))


@attrs.frozen
class OriginGuard:
    """Lets requests through that come from no page, from our own, or from one that was allowed."""

    allowed: frozenset[str]

    @classmethod
    def of(cls, options: Options) -> OriginGuard:
        """Make the guard that some options ask for."""
        return cls(frozenset(map(_as_sent, options.cors_origins)))

    def __call__(self, head: Head) -> None:
        """Raise OriginRefused for the page of somebody else."""
        origins = head.all(b"origin")
        if not origins or (len(origins) == 1 and (self._is_allowed(origins[0]) or _is_own(origins[0], head))):
            return
        msg = "Pages of this origin may not call this server"
        raise OriginRefused(msg, hint="Start the server with --cors and the origin")

    def headers(self, head: Head) -> tuple[tuple[bytes, bytes], ...]:
        """Return what lets the page read the answer; nothing where it may not, or needs no leave."""
        origin = head.one(b"origin")
        if origin is None or not self._is_allowed(origin):
            return ()
        return ((b"access-control-allow-origin", origin), *_ALWAYS)

    def preflight(self, head: Head) -> tuple[tuple[bytes, bytes], ...] | None:
        """Return the answer to a browser that asks before it calls; None where it did not ask, or may not."""
        wanted = head.one(b"access-control-request-headers") or b""
        asks = head.method == "OPTIONS" and head.one(b"access-control-request-method") is not None
        if not asks or not self.headers(head) or _HEADER_NAMES.fullmatch(wanted) is None:
            return None
        return (
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", wanted or b"Authorization, Content-Type"),
            (b"access-control-max-age", b"600"),
        )

    def _is_allowed(self, origin: bytes) -> bool:
        return "*" in self.allowed or origin.decode("latin-1").lower() in self.allowed


def _as_sent(origin: str) -> str:
    """Write an origin as browsers do: in small letters, without the port that goes without saying."""
    origin = origin.lower().rstrip("/")
    return origin.removesuffix(_PORTS.get(origin.partition("://")[0], ""))


def _is_own(origin: bytes, head: Head) -> bool:
    """Tell whether a page is our own: its origin is the host that the request names."""
    scheme, _, place = origin.decode("latin-1").lower().partition("://")
    host = (head.one(b"host") or b"").decode("latin-1").lower()
    port = _PORTS.get(scheme)
    return port is not None and bool(place) and place.removesuffix(port) == host.removesuffix(port)
