"""The mapping from ``OSError`` to the error tree: class, message and hint."""

from __future__ import annotations

import errno
import os

import pytest

from mlxknife.domain.errors import AccessDenied, ModelNotFound, StorageError
from mlxknife.domain.filesystem_errors import filesystem_error, map_filesystem_errors
from mlxknife.domain.hints import Hint, HintCode


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.EACCES, AccessDenied, HintCode.CACHE_PERMISSIONS),
        (errno.EPERM, AccessDenied, HintCode.CACHE_PERMISSIONS),
        (errno.ENOSPC, StorageError, HintCode.FREE_DISK_SPACE),
        (errno.EDQUOT, StorageError, HintCode.FREE_DISK_SPACE),
        (errno.EIO, StorageError, None),
        (errno.EROFS, StorageError, None),
        (errno.ENOTDIR, StorageError, None),
        (errno.ENOENT, StorageError, None),
    ],
)
def test_an_errno_gives_the_class_and_the_hint_of_the_table(
    number: int, kind: type[StorageError], hint: HintCode | None
) -> None:
    exc = OSError(number, os.strerror(number), "/some/path")
    error = filesystem_error(exc, "The model could not be stored", access_hint=HintCode.CACHE_PERMISSIONS)
    assert type(error) is kind
    assert error.message == f"The model could not be stored: {os.strerror(number)}"
    assert error.hint == (None if hint is None else Hint(hint))


def test_a_link_in_the_path_has_a_hint_of_its_own() -> None:
    error = filesystem_error(OSError(errno.ELOOP, "blobs is a link, not a folder"), "The model could not be stored")
    assert error.message == "The model could not be stored: blobs is a link, not a folder"
    assert error.hint == Hint(HintCode.REPLACE_LINK)


def test_an_error_without_an_errno_keeps_its_text() -> None:
    assert filesystem_error(OSError("odd"), "It failed").message == "It failed: odd"


def test_the_block_raises_the_mapped_error_from_its_cause() -> None:
    cause = PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(AccessDenied) as caught, map_filesystem_errors("It failed"):
        raise cause
    assert caught.value.__cause__ is cause


def test_other_exceptions_of_the_block_pass_through() -> None:
    for other in (ModelNotFound("not here"), ValueError("no")):
        with pytest.raises(type(other)) as caught, map_filesystem_errors("It failed"):
            raise other
        assert caught.value is other
