"""What the environment of the process says: the platform's folders, and the variables of huggingface_hub."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.settings.values.table import SETTINGS, SettingType

_SECONDS = re.compile(r"\d{0,6}")
_ON = ("1", "ON", "YES", "TRUE")


def config_path(environment: Mapping[str, str]) -> str:
    """Return the path of the config file."""
    return os.path.join(_platform_folder(environment, "XDG_CONFIG_HOME", "~/.config"), "config.toml")


def data_folder(environment: Mapping[str, str]) -> str:
    """Return the platform's folder for the product's data."""
    return _platform_folder(environment, "XDG_DATA_HOME", "~/.local/share")


def cache_folder(environment: Mapping[str, str]) -> str:
    """Return the platform's folder for what the product can make again."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/mlxk")
    return _platform_folder(environment, "XDG_CACHE_HOME", "~/.cache")


def default_folders(environment: Mapping[str, str]) -> dict[str, SettingType]:
    """Return the defaults of the settings that name a folder."""
    return {
        "hub_cache": os.path.join(os.path.expanduser("~"), ".cache", "huggingface", "hub"),
        "workspace_home": os.path.join(data_folder(environment), "workspaces"),
    }


def hub_values(environment: Mapping[str, str]) -> dict[str, tuple[str, SettingType]]:
    """Return what the variables of huggingface_hub set, as it reads them: by key, the variable and the value."""
    found: dict[str, tuple[str, SettingType]] = {}
    for variable in SETTINGS["hub_cache"].hub_variables:
        if variable in environment:
            found["hub_cache"] = (variable, _hub_cache(environment))
            break
    for variable in SETTINGS["pull.endpoint"].hub_variables:
        if environment.get(variable):
            found["pull.endpoint"] = (variable, environment[variable])
    for variable in SETTINGS["pull.offline"].hub_variables:
        if environment.get(variable):
            found["pull.offline"] = (variable, environment[variable].upper() in _ON)
            break
    for variable in SETTINGS["pull.token"].hub_variables:
        if token := environment.get(variable, "").strip():
            found["pull.token"] = (variable, token)
            break
    if environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _ON:
        found["pull.token"] = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", None)
    return found


def check_timeouts(environment: Mapping[str, str]) -> None:
    """Raise ValidationError for a timeout variable with which huggingface_hub cannot be imported."""
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        if not _SECONDS.fullmatch(environment.get(name, "10")):
            msg = f"{name} must be a number of seconds, not {environment[name]!a}"
            raise ValidationError(msg)


def _platform_folder(environment: Mapping[str, str], variable: str, default: str) -> str:
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/mlxk")
    base = environment.get(variable, "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser(default), "mlxk")


def _hub_cache(environment: Mapping[str, str]) -> str:
    """Return the cache folder as huggingface_hub determines it."""
    user_cache = environment.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    home = _expanded(environment.get("HF_HOME", os.path.join(user_cache, "huggingface")))
    legacy = environment.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))
    return _expanded(environment.get("HF_HUB_CACHE", legacy))


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))
