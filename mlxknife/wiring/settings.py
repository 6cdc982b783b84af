"""The settings of a process, from the environment and the config file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlxknife.adapters.system import environment as variables
from mlxknife.adapters.system.config_file import TomlConfigFile
from mlxknife.domain.settings.rules.sources import Sources
from mlxknife.domain.settings.values.settings import ServerSettings, Settings
from mlxknife.domain.settings.values.table import SettingType

if TYPE_CHECKING:
    from mlxknife.domain.settings.services import Configuration

_COMMANDS = ("list", "run")
"""The commands with options that have keys in the config file. Those of ``serve`` are a value of their own."""


def sources(environment: Mapping[str, str], configured: Mapping[str, SettingType]) -> Sources:
    """Return the sources of settings with these values of the config file."""
    return Sources(environment, variables.hub_values(environment), configured, variables.default_folders(environment))


def read_sources(environment: Mapping[str, str]) -> Sources:
    """Return the sources of settings. Raises ValidationError or StorageError for a bad config file."""
    file = TomlConfigFile(variables.config_path(environment))
    text = file.text()
    if text is None:
        return sources(environment, {})
    from mlxknife.domain.settings.services import check_document  # noqa: PLC0415 - most runs have no config file

    return sources(environment, check_document(file, text))


def configuration(environment: Mapping[str, str]) -> Configuration:
    """Build the service behind ``config``."""
    from mlxknife.domain.settings.services import Configuration  # noqa: PLC0415 - no other command needs it

    file = TomlConfigFile(variables.config_path(environment))
    return Configuration(file, lambda configured: sources(environment, configured))


def settings(found: Sources, *, hub_cache: str | None, workspace_home: str | None) -> Settings:
    """Return the settings of this process. The folders win over those of the sources."""
    values: dict[str, Any] = {
        key: found.value(key).value for key in ("pull.wheels", "pull.endpoint", "pull.token", "pull.offline")
    }
    pipes = found.value("pipes")
    return Settings(
        hub_cache=_folder(hub_cache, found, "hub_cache"),
        workspace_home=_folder(workspace_home, found, "workspace_home"),
        chat_history=os.path.join(variables.data_folder(found.environment), "chat_history"),
        temp=temp_folder(found),
        wheels=values["pull.wheels"],
        pipes_off_by=None if pipes.value else pipes.variable or pipes.setting.key,
        hub_endpoint=values["pull.endpoint"],
        hub_token=values["pull.token"],
        is_offline=values["pull.offline"],
        command_options={command: found.fields(command) for command in _COMMANDS},
    )


def temp_folder(found: Sources) -> str | None:
    """Return the folder that the user names for temporary files."""
    named = found.value("temp").value
    return None if named is None else os.path.expanduser(str(named))


def server_settings(found: Sources) -> ServerSettings:
    """Return the settings of a server; the command line overrides them. Raises ValidationError for a variable."""
    import cattrs  # noqa: PLC0415 - only a server needs it

    return cattrs.Converter(forbid_extra_keys=True).structure(found.fields("serve"), ServerSettings)


def _folder(given: str | None, found: Sources, key: str) -> str:
    """Return the path of a folder. What huggingface_hub's variables name is expanded already."""
    return os.path.abspath(given or os.path.expanduser(str(found.value(key).value)))
