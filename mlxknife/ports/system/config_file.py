"""The config file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlxknife.domain.settings.values.table import SettingType


class ConfigFile(Protocol):
    """Reads and changes the config file, a TOML document with at most one level of tables."""

    @property
    def path(self) -> str:
        """The path of the file, which may not exist."""
        ...

    def exists(self) -> bool:
        """Return whether there is something at the path. Raises nothing."""
        ...

    def text(self) -> str | None:
        """Return the text of the file, or None without a file. Bytes that are not UTF-8 become surrogates.

        Raises ValidationError for one that is too large, StorageError for one that cannot be read.
        """
        ...

    def document(self, text: str) -> Mapping[str, object]:
        """Return a text as a document. Raises ValidationError, with the line, for one that is not UTF-8 or not TOML."""
        ...

    def changed(self, text: str, key: str, value: SettingType) -> str:
        """Return a text with another value of a key; None removes the key. Comments and order stay.

        Raises ValidationError for a text that is not TOML.
        """
        ...

    def replace(self, text: str, *, is_private: bool) -> None:
        """Put a text in the place of the file in one step; a private one is readable for its owner only.

        Raises StorageError or AccessDenied.
        """
        ...
