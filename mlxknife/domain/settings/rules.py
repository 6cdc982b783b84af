"""How a server can be: which settings can be meant, whoever set them."""

from __future__ import annotations

import re

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
    """Raise ValidationError for a setting that can mean nothing, naming it."""
    _within("port", settings.port, 0, _MAX_PORT)
    _within("max_tokens", settings.max_tokens, 1, _MAX_INT)
    _within("max_loaded", settings.max_loaded, 1, _MAX_INT)
    _within("idle_unload", settings.idle_seconds, 0, _MAX_INT)
    _one_of("log_level", settings.log_level, LOG_LEVELS)
    _one_of("cpu_profile", settings.profile, memory.PROFILES)
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
        msg = f"max_loaded is {settings.max_loaded}, and {len(set(settings.models))} models are to be kept"
        raise ValidationError(msg, param="max_loaded")


def check_key(key: str | None) -> None:
    """Raise ValidationError for a key that would let everybody in, or nobody."""
    if key is not None and (not key.isascii() or not key.isprintable() or not key or key != key.strip()):
        msg = "api_key must be of visible ASCII characters, without spaces around: it travels in a header"
        raise ValidationError(msg, hint=HintCode.OMIT_API_KEY, param="api_key")


def _within(name: str, value: float | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:  # NaN is within nothing
        msg = f"{name} must be between {low} and {high}, not {value}"
        raise ValidationError(msg, param=name)


def _one_of(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        msg = f"{name} must be one of {', '.join(allowed)}, not '{value}'"
        raise ValidationError(msg, param=name)
