"""The content of the config file: from a TOML document to checked values, and from words to a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import options as generation
from mlxknife.domain.generation.values.request import GenerationOptions, KVCacheOptions, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.settings.rules.checks import check_value
from mlxknife.domain.settings.values.table import SETTINGS, Kind, Setting, SettingType

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def checked(document: Mapping[str, object]) -> dict[str, SettingType]:
    """Return the values of a config file by their keys. Raises ValidationError that names every wrong key."""
    found: dict[str, SettingType] = {}
    faults: list[ValidationError] = []
    for key, raw in entries(document):
        try:
            found[key] = checked_value(known(key), raw)
        except ValidationError as error:
            faults.append(error)
    if faults:
        raise ValidationError("; ".join(fault.message for fault in faults), hint=faults[0].hint, param=faults[0].param)
    return found


def checked_value(setting: Setting, raw: object) -> SettingType:
    """Return a value of a config file. Raises ValidationError for one that the setting cannot have."""
    value = tuple(raw) if isinstance(raw, list) else raw
    check_value(setting, value, setting.key)
    if setting.table == "run":
        _check_generation(setting, value)
    return value  # type: ignore[return-value] # check_value has checked the type


def known(key: str) -> Setting:
    """Return the setting of a key. Raises ValidationError for an unknown key, with the nearest as a hint."""
    if key in SETTINGS:
        return SETTINGS[key]
    close = _nearest(key)
    msg = f"unknown key {key!a}"
    raise ValidationError(msg, hint=Hint(HintCode.DID_YOU_MEAN, name=close) if close else HintCode.CONFIG_KEYS)


def from_words(setting: Setting, words: Sequence[str]) -> SettingType:
    """Return the value that the words of a command line name. Raises ValidationError."""
    if setting.kind is Kind.TEXTS:
        return checked_value(setting, list(words))
    if len(words) != 1:
        msg = f"{setting.key} takes one value, not {len(words)}"
        raise ValidationError(msg, param=setting.key)
    return checked_value(setting, _parsed(setting.kind, words[0]))


def entries(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the keys of a document with their values; a table yields what is in it.

    A name with a dot is quoted, as in the file: it is no key of a table.
    """
    for name, value in document.items():
        if isinstance(value, Mapping) and name not in SETTINGS and (value or name in _TABLES):
            yield from ((f"{_quoted(name)}.{_quoted(inner)}", inner_value) for inner, inner_value in value.items())
        else:
            yield _quoted(name), value


def _quoted(name: str) -> str:
    return f'"{name}"' if "." in name else name


_TABLES = {setting.table for setting in SETTINGS.values()}


def _nearest(key: str) -> str | None:
    """Return the key that looks most like a word; a name without its table is found, too."""
    exact = [known for known, setting in SETTINGS.items() if setting.name == key.rpartition(".")[2]]
    close = difflib.get_close_matches(key, [*SETTINGS], n=1)
    if close:
        return close[0]
    names = {setting.name: known for known, setting in SETTINGS.items()}
    return exact[0] if exact else next(map(names.__getitem__, difflib.get_close_matches(key, names, n=1)), None)


def _parsed(kind: Kind, word: str) -> object:
    """Return a word as a value of this type where it has its form, else as it is, which is then refused."""
    if kind is Kind.BOOLEAN and word.lower() in (*_TRUE, *_FALSE):
        return word.lower() in _TRUE
    if kind in (Kind.INTEGER, Kind.NUMBER) and _INTEGER.fullmatch(word):
        return int(word)
    if kind is Kind.NUMBER and _NUMBER.fullmatch(word):
        return float(word)
    return word


_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
_KV_CACHE = {
    "kv_bits": "bits",
    "kv_group_size": "group_size",
    "quantized_kv_start": "quantized_start",
    "max_kv_size": "max_size",
}


def _check_generation(setting: Setting, value: object) -> None:
    """Raise ValidationError for a value that no generation request can have."""
    if setting.name == "max_tokens":
        options = GenerationOptions(max_tokens=value)  # type: ignore[arg-type] # check_value has checked the type
    elif setting.name in _SAMPLING:
        options = GenerationOptions(sampling=SamplingParameters(**{setting.name: value}))  # type: ignore[arg-type]
    elif setting.name in _KV_CACHE:
        options = GenerationOptions(kv_cache=KVCacheOptions(**{_KV_CACHE[setting.name]: value}))  # type: ignore[arg-type]
    else:
        return
    try:
        generation.check(options)
    except ValidationError as error:
        msg = f"run.{error.message}"
        raise ValidationError(msg, hint=error.hint, param=setting.key) from error
