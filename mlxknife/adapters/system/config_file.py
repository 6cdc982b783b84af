"""The config file: read with the standard library, changed with tomlkit, which keeps comments and order."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.filesystem_errors import filesystem_error
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.values.table import SettingType

_OWNER_ONLY = 0o600
_READABLE = 0o644
_MAX_BYTES = 1_000_000
"""A larger file is no config file: it is not read into memory."""


@attrs.frozen
class TomlConfigFile:
    """Fulfils ``ConfigFile``. A link to the file stays a link."""

    path: str

    def exists(self) -> bool:
        """See ``ConfigFile.exists``."""
        return os.path.lexists(self.path)

    def text(self) -> str | None:
        """See ``ConfigFile.text``."""
        try:
            with open(self.path, "rb", opener=_open_at_once) as file:
                data = file.read(_MAX_BYTES + 1)
            if len(data) > _MAX_BYTES:
                reason = f"it has more than {_MAX_BYTES} bytes"
                raise self._invalid(reason)
            return data.decode(errors="surrogateescape").removeprefix("\N{BOM}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            if isinstance(exc, PermissionError) and not os.path.exists(self.path):  # HOME is that of another user
                return None
            raise filesystem_error(exc, f"The config file cannot be read: {self.path}") from exc

    def document(self, text: str) -> Mapping[str, object]:
        """See ``ConfigFile.document``."""
        import tomllib  # noqa: PLC0415 - most runs have no config file

        try:
            text.encode()
            return tomllib.loads(text)
        except UnicodeEncodeError as exc:
            reason = f"it is not UTF-8 at character {exc.start}"
            raise self._invalid(reason) from exc
        except (ValueError, RecursionError) as exc:
            raise self._invalid(str(exc)) from exc

    def changed(self, text: str, key: str, value: SettingType) -> str:
        """See ``ConfigFile.changed``."""
        import tomlkit  # noqa: PLC0415 - only a change needs it

        self.document(text)
        document = tomlkit.parse(text)
        table, _, name = key.rpartition(".")
        if table and table not in document and value is not None:
            document[table] = tomlkit.table()
        holder = document.get(table, {}) if table else document
        if not isinstance(holder, MutableMapping):
            reason = f"{table} is not a table"
            raise self._invalid(reason)
        if value is None:
            holder.pop(name, None)
        else:
            holder[name] = list(value) if isinstance(value, tuple) else value
        return tomlkit.dumps(document)

    def replace(self, text: str, *, is_private: bool) -> None:
        """See ``ConfigFile.replace``."""
        target = os.path.realpath(self.path)
        folder = os.path.dirname(target)
        part = None
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=".config-", dir=folder)  # only its owner can read it
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(handle)
            os.chmod(part, _OWNER_ONLY if is_private else _mode(target))
            os.replace(part, target)
        except OSError as exc:
            if part is not None:
                with suppress(OSError):
                    os.unlink(part)
            raise filesystem_error(exc, f"The config file cannot be written: {self.path}") from exc

    def _invalid(self, reason: str) -> ValidationError:
        return ValidationError(f"The config file is not valid: {self.path}: {reason}", hint=HintCode.EDIT_CONFIG)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _mode(path: str) -> int:
    """Return the permissions of a file, or those of a new one."""
    with suppress(FileNotFoundError):
        return stat.S_IMODE(os.stat(path).st_mode)
    return _READABLE
