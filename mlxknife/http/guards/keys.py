"""Who may ask at all."""

from __future__ import annotations

import hmac

import attrs

from mlxknife.http.options import Options
from mlxknife.http.refusals import KeyRefused
from mlxknife.http.visit import Head

_SCHEME = b"bearer "


@attrs.frozen
class KeyGuard:
    """Lets requests through that have the key; all of them where there is none."""

    key: bytes | None = attrs.field(repr=False)

    @classmethod
    def of(cls, options: Options) -> KeyGuard:
        """Make the guard that some options ask for."""
        return cls(None if options.api_key is None else options.api_key.encode())

    def __call__(self, head: Head) -> None:
        """Raise KeyRefused, after the same time for every wrong key."""
        if self.key is None:
            return
        values = head.all(b"authorization")
        given = values[0] if len(values) == 1 else b""
        has_scheme = given[: len(_SCHEME)].lower() == _SCHEME
        is_right = hmac.compare_digest(given[len(_SCHEME) :].strip(), self.key)
        if not (has_scheme and is_right):
            msg = "The key is missing or wrong"
            raise KeyRefused(msg, hint="Send it as Authorization: Bearer KEY")
