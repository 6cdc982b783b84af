"""Settings of this process. An argument wins over an environment variable, that over the config file and defaults."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.filesystem_errors import filesystem_error
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.values import ServerSettings, Settings

_ENDPOINT = re.compile(r"https?://[^/\s:?#]+(:\d{1,5})?(/\S*)?", re.ASCII)
_USERINFO = re.compile(r"//[^/@\s]*@")
_SECONDS = re.compile(r"\d{0,6}")
_ON = ("1", "ON", "YES", "TRUE")
_OFF = ("0", "false", "no", "off")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@attrs.frozen
class ConfigFile:
    """The keys of the config file. Any other key is an error."""

    hub_cache: str | None = None
    workspace_home: str | None = None


def load_settings(
    environment: Mapping[str, str],
    *,
    hub_cache: str | None = None,
    workspace_home: str | None = None,
) -> Settings:
    """Return the settings of this process; the keyword arguments win over variables and config file.

    Raises ValidationError for an invalid config file, StorageError for one that cannot be read.
    """
    config = _config_file(environment)
    home = workspace_home or product_variable(environment, "WORKSPACE_HOME") or config.workspace_home
    return Settings(
        hub_cache=os.path.abspath(hub_cache or _hub_cache(environment, config.hub_cache)),
        workspace_home=os.path.abspath(
            os.path.expanduser(home or os.path.join(data_folder(environment), "workspaces"))
        ),
        chat_history=os.path.join(data_folder(environment), "chat_history"),
        wheels=product_variable(environment, "WHEELS"),
        has_pipes=(product_variable(environment, "ENABLE_PIPES") or "1") not in _OFF,
        hub_endpoint=environment.get("HF_ENDPOINT") or None,
        hub_token=_hub_token(environment),
        is_offline=any(environment.get(name, "").upper() in _ON for name in _OFFLINE),
    )


def server_settings(environment: Mapping[str, str]) -> ServerSettings:
    """Return the settings of a server from environment variables; the command line overrides them.

    Raises ValidationError for a variable that must be a number.
    """
    defaults = ServerSettings()
    model = product_variable(environment, "PRELOAD_MODEL")
    return ServerSettings(
        host=product_variable(environment, "HOST") or defaults.host,
        port=defaults.port if (port := _number(environment, "PORT")) is None else port,
        models=() if model is None else (model,),
        api_key=product_variable(environment, "API_KEY"),
        max_tokens=_number(environment, "MAX_TOKENS"),
        log_level=product_variable(environment, "LOG_LEVEL") or defaults.log_level,
        log_json=(product_variable(environment, "LOG_JSON") or "0") not in _OFF,
        reloads=(product_variable(environment, "RELOAD") or "0") not in _OFF,
    )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = product_variable(environment, name)
    if value is None or re.fullmatch(r"\d{1,10}", value, re.ASCII):
        return None if value is None else int(value)
    msg = f"MLXK_{name} must be a number, not {value!a}"
    raise ValidationError(msg)


def product_variable(environment: Mapping[str, str], name: str) -> str | None:
    """Return a variable of this product: ``MLXK_<name>`` wins over ``MLXK2_<name>``; an empty one counts as unset."""
    return environment.get(f"MLXK_{name}") or environment.get(f"MLXK2_{name}") or None


def data_folder(environment: Mapping[str, str]) -> str:
    """Return the platform's folder for the product's data."""
    return _platform_folder(environment, "XDG_DATA_HOME", "~/.local/share")


def cache_folder(environment: Mapping[str, str]) -> str:
    """Return the platform's folder for what the product can make again."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/mlxk")
    return _platform_folder(environment, "XDG_CACHE_HOME", "~/.cache")


def config_folder(environment: Mapping[str, str]) -> str:
    """Return the platform's folder for the product's settings."""
    return _platform_folder(environment, "XDG_CONFIG_HOME", "~/.config")


def _platform_folder(environment: Mapping[str, str], variable: str, default: str) -> str:
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/mlxk")
    base = environment.get(variable, "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser(default), "mlxk")


def _hub_cache(environment: Mapping[str, str], configured: str | None) -> str:
    """Return the cache folder as huggingface_hub determines it; the config file replaces only the default."""
    if configured and not {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"} & environment.keys():
        return os.path.expanduser(configured)
    user_cache = environment.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    home = _expanded(environment.get("HF_HOME", os.path.join(user_cache, "huggingface")))
    legacy = environment.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))
    return _expanded(environment.get("HF_HUB_CACHE", legacy))


def checked_endpoint(endpoint: str | None) -> str | None:
    """Return the endpoint of the Hub unchanged. Raises ValidationError for one that is not an HTTP URL.

    The error does not repeat a password in the URL.
    """
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        msg = f"HF_ENDPOINT is not the URL of a Hub: {_USERINFO.sub('//***@', endpoint)!a}"
        raise ValidationError(msg, hint=HintCode.URL_SCHEMES)
    return endpoint


def check_timeouts(environment: Mapping[str, str]) -> None:
    """Raise ValidationError for a timeout variable with which huggingface_hub cannot be imported."""
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        if not _SECONDS.fullmatch(environment.get(name, "10")):
            msg = f"{name} must be a number of seconds, not {environment[name]!a}"
            raise ValidationError(msg)


def _hub_token(environment: Mapping[str, str]) -> str | None:
    """Return the Hub token from the environment; huggingface_hub itself reads the token file."""
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
    token = next((environment[name].strip() for name in names if environment.get(name, "").strip()), None)
    return None if environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _ON else token


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))


def _config_file(environment: Mapping[str, str]) -> ConfigFile:
    path = os.path.join(config_folder(environment), "config.toml")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile()
    except OSError as exc:
        if isinstance(exc, PermissionError) and not os.path.exists(path):  # HOME is that of another user
            return ConfigFile()
        raise filesystem_error(exc, f"The config file cannot be read: {path}") from exc
    from mlxknife.adapters.system.config_file import parse  # noqa: PLC0415 - most runs have no config file

    try:
        return parse(data, ConfigFile)
    except ValueError as exc:
        msg = f"The config file is not valid: {path}: {exc}"
        raise ValidationError(msg, hint=HintCode.CONFIG_FILE_KEYS) from exc
