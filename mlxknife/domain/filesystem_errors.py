"""The one mapping from the operating system's file errors (``OSError``) to the product's error tree.

``PermissionError`` (EACCES, EPERM) becomes AccessDenied, every other ``OSError`` becomes StorageError. The table below
has the hint for an errno. An adapter wraps its file access in ``map_filesystem_errors``::

    with map_filesystem_errors("The model could not be stored", access_hint=HintCode.CACHE_PERMISSIONS):
        os.makedirs(folder)

The mapping is in the domain because adapter packages do not import each other, and ``cli`` and ``http`` map
``OSError``, too. It does no IO: it only translates exceptions.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlxknife.domain.errors import AccessDenied, StorageError
from mlxknife.domain.hints import HintCode

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errnos of a disk or a quota that is full."""

_HINTS: Mapping[int, HintCode] = {
    **dict.fromkeys(DISK_FULL, HintCode.FREE_DISK_SPACE),
    errno.ELOOP: HintCode.REPLACE_LINK,
}


def filesystem_error(exc: OSError, failure: str, *, access_hint: HintCode | None = None) -> StorageError:
    """Return the error of the tree for an ``OSError``: AccessDenied for a ``PermissionError``, else StorageError.

    ``failure`` says what failed; the system's reason is put behind it. ``access_hint`` is the hint of an AccessDenied.
    """
    message = f"{failure}: {exc.strerror or exc}"
    if isinstance(exc, PermissionError):
        return AccessDenied(message, hint=access_hint)
    return StorageError(message, hint=_HINTS.get(exc.errno or 0))


@contextmanager
def map_filesystem_errors(failure: str, *, access_hint: HintCode | None = None) -> Iterator[None]:
    """Raise the result of ``filesystem_error`` for every ``OSError`` of the block; other exceptions pass through."""
    try:
        yield
    except OSError as exc:
        raise filesystem_error(exc, failure, access_hint=access_hint) from exc
