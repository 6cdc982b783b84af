"""How the server is to be: every limit has a number here."""

from __future__ import annotations

import ipaddress

import attrs

from mlxknife.domain.settings.rules import check_key

_MB = 10**6


@attrs.frozen
class Options:
    """What a caller may choose. The times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    api_key: str | None = attrs.field(default=None, repr=False)
    """Where it is set, every request must have it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that this server goes by beside ``host`` and those of the loopback; ``*`` is every name."""
    cors_origins: tuple[str, ...] = ()
    """Whose pages may call: ``https://host:port``, ``null`` for pages from files, ``*`` for every page."""

    max_requests: int = 256
    """How many requests may wait or run at once; whoever comes then is refused at once."""
    max_body_bytes: int = 8 * _MB
    max_pending_bytes: int = 64 * _MB
    """What all bodies that are being read or prepared may take together."""
    max_connections: int = 4096
    max_header_bytes: int = 64 * 1024

    header_seconds: float = 10.0
    """How long a client may take for the head of a request."""
    body_seconds: float = 60.0
    """How long it may take for the body."""
    idle_seconds: float = 30.0
    """How long a connection is kept on which nothing is asked."""
    stall_seconds: float = 60.0
    """How long a client may leave its answer unread."""
    keep_alive_seconds: float = 10.0
    """How long a stream is silent at most."""
    grace_seconds: float = 10.0
    """How long a server that is to stop waits for what is running."""

    log_level: str = "info"
    log_json: bool = False

    def __attrs_post_init__(self) -> None:
        """Raise ValidationError for a key that would let everybody in, or nobody."""
        check_key(self.api_key)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it; of any other name, ``127.example.org`` too, nobody knows."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
