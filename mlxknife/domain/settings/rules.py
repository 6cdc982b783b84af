"""Settings of the server: which values are valid, whether they come from options, the environment or a caller."""

from __future__ import annotations

import re

from mlxknife.domain.checks import check_choice, check_range
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.settings.values import ServerSettings

LOG_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65535
_MAX_INT = 2**31 - 1
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_NAME = re.compile(rf"\*|{_HOST}|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_ORIGIN = re.compile(rf"\*|null|[A-Za-z][A-Za-z0-9+.-]*://(?:{_HOST})(?::\d{{1,5}})?/?")


def check(settings: ServerSettings) -> None:
    """Raise ValidationError for the first setting with an invalid value; ``param`` names it."""
    check_range("port", settings.port, 0, _MAX_PORT)
    check_range("max_tokens", settings.max_tokens, 1, _MAX_INT)
    check_range("max_loaded", settings.max_loaded, 1, _MAX_INT)
    check_range("idle_unload", settings.idle_seconds, 0, _MAX_INT)
    check_choice("log_level", settings.log_level, LOG_LEVELS)
    check_choice("cpu_profile", settings.profile, memory.PROFILES)
    for name in settings.allowed_hosts:
        if _NAME.fullmatch(name) is None:
            msg = f"allow_host must be the name of a host without a port, its address, or *, not {name!a}"
            raise ValidationError(msg, param="allow_host")
    for origin in settings.cors_origins:
        if _ORIGIN.fullmatch(origin) is None:
            msg = f"cors must be an origin such as https://app.example:3000, null, or *, not {origin!a}"
            raise ValidationError(msg, hint=HintCode.NULL_ORIGIN, param="cors")
    if not settings.host.strip():
        msg = "host is empty"
        raise ValidationError(msg, hint=HintCode.LISTEN_ADDRESSES, param="host")
    check_key(settings.api_key)
    if settings.max_loaded is not None and len(set(settings.models)) > settings.max_loaded:
        msg = f"max_loaded is {settings.max_loaded}, but {len(set(settings.models))} models are to stay loaded"
        raise ValidationError(msg, param="max_loaded")


def check_key(key: str | None) -> None:
    """Raise ValidationError for an API key that a header cannot carry; None means no key."""
    if key is not None and (not key.isascii() or not key.isprintable() or not key or key != key.strip()):
        msg = "api_key must consist of visible ASCII characters, without spaces around it: a header carries it"
        raise ValidationError(msg, hint=HintCode.OMIT_API_KEY, param="api_key")
