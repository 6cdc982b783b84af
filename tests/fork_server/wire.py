"""What is sent to the fork server: one command as ``subprocess`` would execute it, and its descriptors.

The small program for shells imports this, so it imports little.
"""

from __future__ import annotations

import marshal
import resource
import signal
import socket
import sys

KINDS = ("light", "models")
"""The servers: one with everything but what only models need, one with that as well."""
_MODEL_WORDS = frozenset({"run", "serve", "server", "--worker-fd"})
_LENGTH = 4
_MOST_DESCRIPTORS = 64
_LIMITS = tuple({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


def kind_for(words: list[str]) -> str:
    """Return which server is to run a command line."""
    is_for_models = "mlx-run" in words[0] or any(word in _MODEL_WORDS or word.startswith("tests.") for word in words)
    return "models" if is_for_models else "light"


def inherited() -> dict[str, object]:
    """Return what a new process inherits from this one, by the names that a Request has for it."""
    ignored = [int(number) for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
    blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
    limits = [(number, *resource.getrlimit(number)) for number in _LIMITS]
    return {"umask": _umask(), "ignored": ignored, "blocked": blocked, "limits": limits}


def send(connection: socket.socket, request: dict[str, object], descriptors: list[int]) -> None:
    """Send the fields of a request and its descriptors. Raises OSError."""
    body = marshal.dumps(request)
    socket.send_fds(connection, [len(body).to_bytes(_LENGTH, sys.byteorder)], descriptors)
    connection.sendall(body)


def receive(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """Return the fields of a request and its descriptors; None at the end of the connection."""
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH, _MOST_DESCRIPTORS)
    body, left = bytearray(), int.from_bytes(head, sys.byteorder)
    while left:
        part = connection.recv(left)
        if not part:
            return None
        body += part
        left -= len(part)
    return (marshal.loads(body), descriptors) if body else None


def send_number(connection: socket.socket, number: int) -> None:
    """Send a process id or an exit status. Raises OSError."""
    connection.sendall(number.to_bytes(_LENGTH, sys.byteorder))


def receive_number(connection: socket.socket) -> int | None:
    """Return what ``send_number`` sent; None at the end of the connection."""
    data = connection.recv(_LENGTH, socket.MSG_WAITALL)
    return int.from_bytes(data, sys.byteorder) if len(data) == _LENGTH else None


def _umask() -> int:
    with open("/proc/self/status", "rb") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith(b"Umask:"))
