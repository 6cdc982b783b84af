"""Requests of the plainest form, read in one go: what a crowd sends. Anything else is left to the real parser."""

from __future__ import annotations

import re

import attrs

from mlxknife.http.visit import Head

LARGEST = 16 * 1024
"""Bytes of a request that is read here."""
_BEGINNING = re.compile(rb"POST (/[A-Za-z0-9/_-]*) HTTP/1\.1\r\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)\r\n")
_MOST_FIELDS = 64
_LENGTH = b"content-length"
_LONGEST_NUMBER = 5
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"))
"""Fields that change what the rest of a request means."""


@attrs.frozen
class PlainPost:
    """The head of a request, and how many bytes the whole of it has."""

    head: Head
    size: int


def plain_post(data: bytes) -> PlainPost | None:
    """Return a POST whose head is there, and as much of its body as may be; None for whatever else."""
    beginning = _BEGINNING.match(data)
    end = data.find(b"\r\n\r\n") + 2
    if beginning is None or len(data) >= LARGEST:
        return None
    fields = list[tuple[bytes, bytes]]()
    at = beginning.end()
    while at < end:
        field = _FIELD.match(data, at)
        if field is None or len(fields) == _MOST_FIELDS:
            return None
        fields.append((field[1].lower(), field[2].strip(b" \t")))
        at = field.end()
    lengths = [value for name, value in fields if name == _LENGTH]
    if at != end or len(lengths) != 1 or any(name in _UNUSUAL for name, _ in fields):
        return None
    if not lengths[0].isdigit() or len(lengths[0]) > _LONGEST_NUMBER:
        return None
    size = end + 2 + int(lengths[0])
    if not len(data) <= size < LARGEST:
        return None
    return PlainPost(Head("POST", beginning[1].decode("ascii"), fields), size)
