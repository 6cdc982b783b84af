"""The sockets that a server listens on, and what can be in the way."""

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
_WANTED_FILES = 16_384


def listen(host: str, port: int) -> list[socket.socket]:
    """Return bound sockets, one for each address of the host.

    Raises ValidationError for a host or port that is none or is taken, AccessDenied, StorageError.
    """
    if not 0 <= port <= _MAX_PORT:
        msg = f"{port} is no port"
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
    """Return the address to call, as people write it."""
    host, port, *_ = sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_many_connections() -> None:
    """Ask the system for as many open files as it gives: each client takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft not in (resource.RLIM_INFINITY, -1) and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Address]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        msg = f"'{host}' is not a host of this machine"
        raise ValidationError(msg, hint=HintCode.LISTEN_ADDRESSES) from exc
    return list(dict.fromkeys((family, address) for family, *_, address in found))


def _bound(family: socket.AddressFamily, address: Address) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only where it says TCP
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.setblocking(False)  # noqa: FBT003 - it has no name
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
