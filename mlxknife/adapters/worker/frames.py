"""Frames: the bytes of each message after their length."""

from __future__ import annotations

import struct

from mlxknife.domain.errors import InternalError

MAX_FRAME = 128 * 1024 * 1024
"""The bytes of the longest message."""
_LENGTH = struct.Struct(">I")


def framed(body: bytes) -> bytes:
    """Return a message after its length. Raises OverflowError for a message that is too long."""
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes is too long"
        raise OverflowError(msg)
    return _LENGTH.pack(len(body)) + body


def invalid_message() -> InternalError:
    """Return the error for bytes that are no message."""
    msg = "The other process sent an invalid message"
    return InternalError(msg)


class Frames:
    """Splits received bytes into frames."""

    def __init__(self) -> None:
        """Begin without bytes."""
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._data += data

    def next(self) -> bytes | None:
        """Return the next complete frame, or None. Raises InternalError for a frame that is too long."""
        data, head = self._data, _LENGTH.size
        if len(data) < head:
            return None
        (length,) = _LENGTH.unpack_from(data)
        if length > MAX_FRAME:
            raise invalid_message()
        if len(data) < head + length:
            return None
        frame = bytes(data[head : head + length])
        del data[: head + length]
        return frame
