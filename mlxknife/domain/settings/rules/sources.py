"""Which of several sources decides a setting: variables of the environment, the config file, the default."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.rules.checks import check_value
from mlxknife.domain.settings.values.table import SETTINGS, Kind, Setting, SettingType, SettingValue, Source

_OFF = ("0", "false", "no", "off")


@attrs.frozen
class Sources:
    """The sources of one process. A variable wins over the config file, and the config file over the default."""

    environment: Mapping[str, str] = attrs.field(repr=False)
    hub_values: Mapping[str, tuple[str, SettingType]] = attrs.field(repr=False)
    """By key, what the variables of huggingface_hub say: the name of the variable, and the value."""
    configured: Mapping[str, SettingType] = attrs.field(repr=False)
    """The checked values of the config file, by key."""
    defaults: Mapping[str, SettingType]
    """The defaults that depend on the machine, by key."""

    def value(self, key: str) -> SettingValue:
        """Return the value of a setting. Raises ValidationError, naming the variable, for an invalid value of one."""
        setting = SETTINGS[key]
        if key in self.hub_values:
            variable, value = self.hub_values[key]
            return SettingValue(setting, value, Source.VARIABLE, variable)
        for name in setting.variables[len(setting.hub_variables) :]:
            if self.environment.get(name):
                value = _parsed(setting, name, self.environment[name])
                check_value(setting, value, name)
                return SettingValue(setting, value, Source.VARIABLE, name)
        if key in self.configured:
            return SettingValue(setting, self.configured[key], Source.FILE)
        return SettingValue(setting, self.defaults.get(key, setting.default), Source.DEFAULT)

    def fields(self, table: str, *, with_defaults: bool = False) -> dict[str, SettingType]:
        """Return the values of a table by their fields; by default only those that a source sets."""
        values = [self.value(key) for key, setting in SETTINGS.items() if setting.table == table]
        return {
            value.setting.field: value.value for value in values if with_defaults or value.source is not Source.DEFAULT
        }


def _parsed(setting: Setting, name: str, text: str) -> SettingType:
    if setting.kind is Kind.BOOLEAN:
        return text.lower() not in _OFF
    if setting.kind is Kind.TEXTS:
        return (text,)
    if setting.kind is Kind.TEXT:
        return text
    if re.fullmatch(r"\d{1,10}", text, re.ASCII):
        return int(text)
    msg = f"{name} must be a number, not {text!a}"
    raise ValidationError(msg)
