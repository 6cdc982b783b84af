"""The service behind ``config``: shows every setting with its source, and changes the config file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.rules import configuration
from mlxknife.domain.settings.rules.sources import Sources
from mlxknife.domain.settings.values.table import SETTINGS, SettingType, SettingValue
from mlxknife.ports.system.config_file import ConfigFile


@attrs.frozen
class Configuration:
    """Reads and changes the settings. It works with a config file that no other command accepts."""

    file: ConfigFile
    sources: Callable[[Mapping[str, SettingType]], Sources] = attrs.field(repr=False)
    """Returns the sources of this process with these values of the config file."""

    @property
    def path(self) -> str:
        """The path of the config file."""
        return self.file.path

    def exists(self) -> bool:
        """Return whether there is a config file, valid or not. Raises nothing."""
        return self.file.exists()

    def values(self) -> tuple[SettingValue, ...]:
        """Return every setting. Raises ValidationError for an invalid config file or variable, StorageError."""
        sources = self.sources(check_document(self.file, self.file.text() or ""))
        return tuple(sources.value(key) for key in SETTINGS)

    def text(self) -> str:
        """Return the text to edit: the config file, or one with every key as a comment. Raises as ``file.text``."""
        text = self.file.text()
        return template() if text is None else text

    def set(self, key: str, words: Sequence[str]) -> SettingValue:
        """Set a key of the config file and return what holds now, which a variable may decide.

        Raises ValidationError for an unknown key or an invalid value, StorageError.
        """
        value = configuration.from_words(configuration.known(key), words)
        self._change(key, value)
        return self.sources({key: value}).value(key)

    def unset(self, key: str) -> bool:
        """Remove a key from the config file, and return whether it was there. An unknown key can be removed, too.

        Raises ValidationError for a key that neither exists nor is in the file, StorageError.
        """
        text = self.file.text() or ""
        if key not in dict(configuration.entries(self.file.document(text))):
            configuration.known(key)
            return False
        self._change(key, None)
        return True

    def replace(self, text: str) -> None:
        """Put an edited text into the config file. Raises ValidationError for an invalid text, StorageError."""
        values = check_document(self.file, text)
        self.file.replace(text, is_private=_has_secret(values))

    def _change(self, key: str, value: SettingType) -> None:
        before = self.file.text() or ""
        wanted = dict(configuration.entries(self.file.document(before)))
        wanted.pop(key, None)
        if value is not None:
            wanted[key] = list(value) if isinstance(value, tuple) else value
        text = self.file.changed(before, key, value)
        found = dict(configuration.entries(self.file.document(text)))
        if _whole(found) != _whole(wanted):
            msg = f"{key} cannot be changed without a change of other keys: {self.path}"
            raise ValidationError(msg, hint=HintCode.EDIT_CONFIG, param=key)
        self.file.replace(text, is_private=_has_secret(wanted))


def check_document(file: ConfigFile, text: str) -> dict[str, SettingType]:
    """Return the values of a config file. Raises ValidationError that names the file and every wrong key."""
    document = file.document(text)
    try:
        return configuration.checked(document)
    except ValidationError as error:
        msg = f"The config file is not valid: {file.path}: {error.message}"
        raise ValidationError(msg, hint=error.hint or HintCode.EDIT_CONFIG, param=error.param) from error


def template() -> str:
    """Return a config file with every key as a comment."""
    lines = ["# The settings of mlxk. Remove the # before a key, and set its value."]
    table = ""
    for setting in SETTINGS.values():
        if setting.table != table:
            table = setting.table
            lines += ["", f"[{table}]"]
        default = "..." if setting.default is None else json.dumps(setting.default)
        lines.append(f"# {setting.name} = {default}  # {setting.meaning}")
    return "\n".join(lines) + "\n"


def _has_secret(values: Mapping[str, object]) -> bool:
    return any(key in values for key, setting in SETTINGS.items() if setting.is_secret)


def _whole(values: Mapping[str, object]) -> dict[str, object]:
    """Return values without empty tables, which hold no setting."""
    return {key: value for key, value in values.items() if value != {}}
