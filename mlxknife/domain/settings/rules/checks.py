"""Which values of a setting are valid, whether they come from options, the environment, the config file or a caller."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeGuard

from mlxknife.domain.checks import check_choice, check_range
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.values.settings import ServerSettings
from mlxknife.domain.settings.values.table import SETTINGS, Form, Kind, Setting, SettingType, SettingValue

LOG_LEVELS = SETTINGS["serve.log_level"].choices
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_NAME = re.compile(rf"\*|{_HOST}|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_ORIGIN = re.compile(rf"\*|null|[A-Za-z][A-Za-z0-9+.-]*://(?:{_HOST})(?::\d{{1,5}})?/?")
_USERINFO = re.compile(r"//[^/@\s]*@")
_MASK = "********"
_URL = re.compile(r"https?://[^/\s:?#]+(:\d{1,5})?(/\S*)?", re.ASCII)


def check(settings: ServerSettings) -> None:
    """Raise ValidationError for the first setting with an invalid value; ``param`` names it."""
    for setting in SETTINGS.values():
        if setting.table == "serve":
            check_value(setting, getattr(settings, setting.field), setting.name)
    if settings.max_loaded is not None and len(set(settings.models)) > settings.max_loaded:
        msg = f"max_loaded is {settings.max_loaded}, but {len(set(settings.models))} models are to stay loaded"
        raise ValidationError(msg, param="max_loaded")


def check_value(setting: Setting, value: object, name: str) -> None:
    """Raise ValidationError for a value that a setting cannot have; None is not checked. ``name`` becomes ``param``."""
    if value is None:
        return
    if not has_kind(setting.kind, value):
        msg = f"{name} must be {setting.kind.value}, not {_shown(setting, value)}"
        raise ValidationError(msg, param=name)
    if setting.low is not None and setting.high is not None and isinstance(value, int | float):
        check_range(name, value, setting.low, setting.high)
    if setting.choices:
        check_choice(name, value, setting.choices)
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str):
            _FORMS[setting.form](text, name)


def has_kind(kind: Kind, value: object) -> TypeGuard[SettingType]:
    """Return whether a value has the type of a setting. A bool is no number, and an integer is a number."""
    if isinstance(value, bool):
        return kind is Kind.BOOLEAN
    if isinstance(value, tuple):
        return kind is Kind.TEXTS and all(isinstance(text, str) for text in value)
    kinds: dict[type, tuple[Kind, ...]] = {
        str: (Kind.TEXT,),
        int: (Kind.INTEGER, Kind.NUMBER),
        float: (Kind.NUMBER,),
    }
    return kind in kinds.get(type(value), ())


def check_key(key: str | None) -> None:
    """Raise ValidationError for an API key that a header cannot carry; None means no key."""
    if key is not None:
        _check_key(key, "api_key")


def check_endpoint(endpoint: str | None, name: str) -> None:
    """Raise ValidationError for an address of the Hub that is not an HTTP URL; None is not checked."""
    if endpoint is not None:
        _check_url(endpoint, name)


def shown(value: SettingValue) -> SettingType:
    """Return a value without what is secret in it."""
    if value.value is not None and value.setting.is_secret:
        return _MASK
    is_url = value.setting.form is Form.URL and isinstance(value.value, str)
    return without_userinfo(str(value.value)) if is_url else value.value


def without_userinfo(url: str) -> str:
    """Return a URL without the name and password in it."""
    return _USERINFO.sub("//***@", url)


def _shown(setting: Setting, value: object) -> str:
    return "what is there" if setting.is_secret else ascii(value)


def _check_not_empty(text: str, name: str) -> None:
    if not text.strip():
        msg = f"{name} is empty"
        raise ValidationError(msg, hint=HintCode.LISTEN_ADDRESSES if name.endswith("host") else None, param=name)


def _check_host_name(text: str, name: str) -> None:
    if _NAME.fullmatch(text) is None:
        msg = f"{name} must be the name of a host without a port, its address, or *, not {text!a}"
        raise ValidationError(msg, param=name)


def _check_origin(text: str, name: str) -> None:
    if _ORIGIN.fullmatch(text) is None:
        msg = f"{name} must be an origin such as https://app.example:3000, null, or *, not {text!a}"
        raise ValidationError(msg, hint=HintCode.NULL_ORIGIN, param=name)


def _check_key(text: str, name: str) -> None:
    if not text.isascii() or not text.isprintable() or not text or text != text.strip():
        msg = f"{name} must consist of visible ASCII characters, without spaces around it: a header carries it"
        raise ValidationError(msg, hint=HintCode.OMIT_API_KEY if name.endswith("api_key") else None, param=name)


def _check_url(text: str, name: str) -> None:
    if _URL.fullmatch(text) is None:
        msg = f"{name} is not the URL of a Hub: {without_userinfo(text)!a}"
        raise ValidationError(msg, hint=HintCode.URL_SCHEMES, param=name)


_FORMS: Mapping[Form, Callable[[str, str], None]] = {
    Form.FREE: lambda _text, _name: None,
    Form.NOT_EMPTY: _check_not_empty,
    Form.HOST_NAME: _check_host_name,
    Form.ORIGIN: _check_origin,
    Form.KEY: _check_key,
    Form.URL: _check_url,
}
