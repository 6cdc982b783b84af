"""The options of the server: each limit has a number here. Times are in seconds."""

from __future__ import annotations

import ipaddress

import attrs

from mlxknife.domain.settings.rules.checks import check_key

_MB = 10**6


@attrs.frozen
class Options:
    """What a caller may choose. Raises ValidationError for an API key that cannot be sent in a header."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    api_key: str | None = attrs.field(default=None, repr=False)
    """Every request must carry this key where it is set."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that are served besides ``host`` and those of the loopback; ``*`` is every name."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call: ``https://host:port``, ``null`` for pages from files, ``*`` for every page."""

    max_requests: int = 256
    """The number of requests that may wait or run; further ones are refused with 429."""
    max_body_bytes: int = 8 * _MB
    max_pending_bytes: int = 64 * _MB
    """The bytes of all bodies together that are being read or prepared."""
    max_unread_bytes: int = 32 * _MB
    """The bytes that may wait for all clients together that do not read; above it, less may wait for each of them."""
    max_connections: int = 4096
    """The number of open connections; it is lower where the system allows fewer open files."""
    max_header_bytes: int = 64 * 1024

    header_seconds: float = 10.0
    """The time for the head of a request."""
    body_seconds: float = 15.0
    """The longest silence in the body of a request; after this time it must also have the rate below."""
    body_bytes_per_second: float = 100_000.0
    """The lowest rate of a body that takes longer."""
    idle_seconds: float = 30.0
    """The time that a connection stays open without a request."""
    stall_seconds: float = 60.0
    """The time that a client may leave its response unread."""
    keep_alive_seconds: float = 10.0
    """The longest silence of a stream."""
    grace_seconds: float = 10.0
    """The time that running requests have when the server stops."""

    log_level: str = "info"
    log_json: bool = False

    def __attrs_post_init__(self) -> None:
        """Check the API key."""
        check_key(self.api_key)

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the server; a name other than localhost may be any address."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
