"""Opening files of unknown origin: no link is followed, and a pipe does not block."""

from __future__ import annotations

import os

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A link is refused, a pipe does not block, child processes do not inherit the descriptor."""

LFS_POINTER = b"version https://git-lfs"
"""The first bytes of a Git LFS pointer, which replaces a file that was not downloaded."""

_CHUNK = 64 * 1024 * 1024
"""Larger than all files that are read whole: one read needs no copy."""


def read_file(path: str, size: int) -> bytes:
    """Return the first ``size`` bytes of a file, or all when it has fewer. Raises OSError."""
    handle = os.open(path, OPEN_FLAGS)
    try:
        data = os.read(handle, min(size, _CHUNK))
        if len(data) == size:
            return data
        chunks, left = [data], size - len(data)
        while left > 0 and (chunk := os.read(handle, min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(handle)
