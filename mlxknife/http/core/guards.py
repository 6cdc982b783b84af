"""Who may call: the host names of this server, the origins of web pages, and the API key."""

from __future__ import annotations

import hmac
import ipaddress
import re

import attrs

from mlxknife.http.core.context import Headers, RequestContext
from mlxknife.http.core.errors import BadRequest, HostRefused, OriginRefused, Unauthorized
from mlxknife.http.options import Options

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ALL_ADDRESSES = ("", "0.0.0.0", "::", "*")  # noqa: S104 - compared with, not bound
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{0,1024}")
_CORS_HEADERS = ((b"access-control-expose-headers", b"X-Request-ID, Retry-After"), (b"vary", b"Origin"))


@attrs.frozen
class HostGuard:
    """Refuses requests for other host names, which protects against DNS rebinding."""

    names: frozenset[str]
    allows_all: bool
    allows_addresses: bool
    """Whether any IP address is a name of this server, because it is bound to all of them."""

    @classmethod
    def from_options(cls, options: Options) -> HostGuard:
        """Allow the bound host, the loopback names and ``allowed_hosts``."""
        names = {_normalized(name) for name in (options.host, *options.allowed_hosts, *_LOOPBACK)}
        return cls(frozenset(names), "*" in options.allowed_hosts, options.host in _ALL_ADDRESSES)

    def check(self, context: RequestContext) -> None:
        """Raise HostRefused for another name, BadRequest for a missing or repeated Host header."""
        if self.allows_all:
            return
        values = context.header_values(b"host")
        if len(values) != 1:
            msg = "The request must have one Host header"
            raise BadRequest(msg)
        name = host_name(values[0].decode("latin-1"))
        target = None if context.target_host is None else _normalized(context.target_host.decode("latin-1"))
        if name is None or not self._is_allowed(name) or not self._is_allowed(target or name):
            msg = "This server does not serve that host name"
            raise HostRefused(msg, hint="Use its address, or start it with --allow-host and the name")

    def _is_allowed(self, name: str) -> bool:
        return name in self.names or (self.allows_addresses and _is_address(name))


@attrs.frozen
class OriginGuard:
    """Refuses requests of web pages from other origins, and answers CORS preflight requests."""

    allowed: frozenset[str]

    @classmethod
    def from_options(cls, options: Options) -> OriginGuard:
        """Allow the origins of ``cors_origins``."""
        return cls(frozenset(map(_normalized_origin, options.cors_origins)))

    def check(self, context: RequestContext) -> None:
        """Raise OriginRefused unless there is no Origin header, or the origin is allowed or this server itself."""
        origins = context.header_values(b"origin")
        if not origins or (len(origins) == 1 and (self._is_allowed(origins[0]) or _is_own(origins[0], context))):
            return
        msg = "Pages of this origin may not call this server"
        raise OriginRefused(msg, hint="Start the server with --cors and the origin")

    def response_headers(self, context: RequestContext) -> Headers:
        """Return the CORS headers that let an allowed page read the response."""
        origin = context.header(b"origin")
        if origin is None or not self._is_allowed(origin):
            return ()
        return ((b"access-control-allow-origin", origin), *_CORS_HEADERS)

    def preflight_headers(self, context: RequestContext) -> Headers | None:
        """Return the headers that answer a preflight request, or None where it is none or may not pass."""
        requested = context.header(b"access-control-request-headers") or b""
        is_preflight = context.method == "OPTIONS" and context.header(b"access-control-request-method") is not None
        if not is_preflight or not self.response_headers(context) or _HEADER_NAMES.fullmatch(requested) is None:
            return None
        return (
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", requested or b"Authorization, Content-Type, X-API-Key"),
            (b"access-control-max-age", b"600"),
        )

    def _is_allowed(self, origin: bytes) -> bool:
        return "*" in self.allowed or origin.decode("latin-1").lower() in self.allowed


def check_key(expected: str | None, given: bytes) -> None:
    """Raise Unauthorized for a wrong key; the comparison takes the same time for every wrong key."""
    if expected is not None and not hmac.compare_digest(given, expected.encode()):
        msg = "The API key is missing or wrong"
        raise Unauthorized(msg)


def host_name(value: str) -> str | None:
    """Return the name in ``name:port``, or None where it is not well-formed."""
    found = _HOST.fullmatch(value)
    return None if found is None else _normalized(found[1] or found[2])


def _normalized(name: str) -> str:
    return name.strip("[]").lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _normalized_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case and without the default port."""
    origin = origin.lower().rstrip("/")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], ""))


def _is_own(origin: bytes, context: RequestContext) -> bool:
    """Return whether the host of an origin is the host that the request names."""
    scheme, _, place = origin.decode("latin-1").lower().partition("://")
    host = (context.header(b"host") or b"").decode("latin-1").lower()
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and bool(place) and place.removesuffix(port) == host.removesuffix(port)
