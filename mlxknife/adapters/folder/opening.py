"""Opening files that somebody else may have put there."""

from __future__ import annotations

import os

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A link in the place of the file is refused, a pipe does not block, a child does not inherit it."""

LFS_MARK = b"version https://git-lfs"

_READ_AT_ONCE = 16 * 1024 * 1024


def read_file(path: str, size: int) -> bytes:
    """Return the first ``size`` bytes of a file, or all when it has fewer. Raises OSError."""
    handle = os.open(path, FLAGS)
    try:
        data = os.read(handle, min(size, _READ_AT_ONCE))
        if len(data) == size:
            return data
        chunks, left = [data], size - len(data)
        while left > 0 and (chunk := os.read(handle, min(left, _READ_AT_ONCE))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(handle)
