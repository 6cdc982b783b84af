"""Whom a request is meant for. A page can bind its own name to this machine's address; the name then tells."""

from __future__ import annotations

import ipaddress
import re

import attrs

from mlxknife.http.options import Options
from mlxknife.http.refusals import HostRefused, Refusal
from mlxknife.http.visit import Head

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WILDCARDS = ("", "0.0.0.0", "::", "*")  # noqa: S104 - recognised, not bound
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?")


@attrs.frozen
class HostGuard:
    """Lets requests through that name this server."""

    names: frozenset[str]
    takes_any_name: bool
    takes_addresses: bool
    """Whether the server is bound to every address, so that each of them is its own."""

    @classmethod
    def of(cls, options: Options) -> HostGuard:
        """Make the guard that some options ask for."""
        names = {_plain(name) for name in (options.host, *options.allowed_hosts, *_LOOPBACK)}
        is_everywhere = options.host in _WILDCARDS
        return cls(frozenset(names), "*" in options.allowed_hosts, is_everywhere)

    def __call__(self, head: Head) -> None:
        """Raise HostRefused for a name that is not ours, Refusal for a request that does not say."""
        if self.takes_any_name:
            return
        values = head.all(b"host")
        if len(values) != 1:
            msg = "The request must have one Host header"
            raise Refusal(msg)
        name = host_name(values[0].decode("latin-1"))
        if name is None or not self._is_ours(name) or not self._is_ours(_named_in_target(head) or name):
            msg = "This server does not go by that name"
            raise HostRefused(msg, hint="Use its address, or start it with --allow-host and the name")

    def _is_ours(self, name: str) -> bool:
        return name in self.names or (self.takes_addresses and _is_address(name))


def _named_in_target(head: Head) -> str | None:
    """Return the host that the address itself names, as for a proxy: it counts as much as the header does."""
    return None if head.authority is None else _plain(head.authority.decode("latin-1"))


def host_name(value: str) -> str | None:
    """Return the name in ``name:port``; None where it is none."""
    found = _HOST.fullmatch(value)
    return None if found is None else _plain(found[1] or found[2])


def _plain(name: str) -> str:
    return name.strip("[]").lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
