"""The listening sockets of a server, and how many connections the system allows."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
from typing import Any, TypeAlias

from mlxknife.domain.errors import AccessDenied, KnifeError, StorageError, ValidationError
from mlxknife.domain.hints import HintCode

Address: TypeAlias = tuple[Any, ...]

_MAX_PORT = 65535
_UNLIMITED = (resource.RLIM_INFINITY, -1)
_OPEN_FILES = 16_384
_RESERVED_FILES = 128
"""Open files that are kept for connections being refused and for everything else; at most three quarters of the limit.
"""
_ACCEPT_BATCH = 16
_FEW_FILES = 256


def listen(host: str, port: int) -> list[socket.socket]:
    """Return bound sockets, one for each address of the host.

    Raises ValidationError for an invalid or unknown host or port or one in use, AccessDenied, StorageError.
    """
    if not 0 <= port <= _MAX_PORT:
        msg = f"{port} is not a port"
        raise ValidationError(msg, hint=HintCode.PORT_RANGE)
    bound: list[socket.socket] = []
    refused: list[OSError] = []
    for family, address in _addresses(host, port):
        try:
            bound.append(_bound(family, (address[0], _port_of(bound) or address[1], *address[2:])))
        except OSError as exc:
            refused.append(exc)
    if not bound or any(exc.errno == errno.EADDRINUSE for exc in refused):
        for one in bound:
            one.close()
        raise _error(refused[0], host, port) from refused[0]
    return bound


def url(sockets: list[socket.socket]) -> str:
    """Return the URL of the first socket."""
    host, port, *_ = sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_connections(limit: int) -> int:
    """Raise the limit of open files where possible; return how many connections fit below it, at most ``limit``.

    Without such a cap, accepting a connection would fail for lack of descriptors, and so would loading a model.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in _UNLIMITED:
        return limit
    target = _OPEN_FILES if hard in _UNLIMITED else min(_OPEN_FILES, hard)
    if soft < target:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
    return max(1, min(limit, soft - min(_RESERVED_FILES, soft * 3 // 4)))


def accept_batch() -> int:
    """Return how many connections are accepted at a time.

    Those above the cap are closed a few batches later, and until then they need descriptors. If these run out, asyncio
    tries again later for each connection of the batch, and each time with more tries.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ACCEPT_BATCH if soft in _UNLIMITED or soft >= _FEW_FILES else 1


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Address]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        msg = f"'{host}' is not a host of this machine"
        raise ValidationError(msg, hint=HintCode.LISTEN_ADDRESSES) from exc
    return list(dict.fromkeys((family, address) for family, *_, address in found))


def _bound(family: socket.AddressFamily, address: Address) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only with this proto
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.setblocking(False)  # noqa: FBT003 - the parameter has no name
    except BaseException:
        one.close()
        raise
    return one


def _port_of(bound: list[socket.socket]) -> int | None:
    return int(bound[0].getsockname()[1]) if bound else None


def _error(exc: OSError, host: str, port: int) -> KnifeError:
    if exc.errno == errno.EADDRINUSE:
        msg = f"Port {port} of {host} is in use"
        return ValidationError(msg, hint=HintCode.OTHER_PORT)
    if exc.errno in (errno.EACCES, errno.EPERM):
        return AccessDenied(f"This user may not use port {port}", hint=HintCode.UNPRIVILEGED_PORT)
    if exc.errno == errno.EADDRNOTAVAIL:
        msg = f"{host} is not an address of this machine"
        return ValidationError(msg, hint=HintCode.LISTEN_ADDRESSES)
    return StorageError(f"Port {port} of {host} cannot be used: {exc.strerror or exc}")
