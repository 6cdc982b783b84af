"""Settings of a tokenizer: the values that transformers accepts. With any other value no tokenizer is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlxknife.domain.models.values.snapshot import JsonObject

_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_SIDES = ("padding_side", "truncation_side")


def problems(settings: JsonObject, *, needs_mark: bool) -> Iterator[str]:
    """Yield what is wrong with tokenizer_config.json or special_tokens_map.json, the name of the key first.

    ``needs_mark``: whether a token that is an object needs the key ``__type``, as in tokenizer_config.json.
    """
    for key in _TOKENS:
        if settings.get(key) is not None and not _is_token(settings[key], needs_mark=needs_mark):
            yield f"{key} is not a token"
    for key in _LISTS:
        if not _are_tokens(settings.get(key)):
            yield f"{key} is not a list of tokens"
    for key in _SIDES:
        if settings.get(key, "left") not in ("left", "right"):
            yield f"{key} is neither left nor right"
    yield from _other_problems(settings)


def _other_problems(settings: JsonObject) -> Iterator[str]:
    if not isinstance(settings.get("tokenizer_class"), str | None):
        yield "tokenizer_class is not a name"
    if not isinstance(settings.get("split_special_tokens", False), bool):
        yield "split_special_tokens is neither true nor false"
    decoder = settings.get("added_tokens_decoder", {})
    if not isinstance(decoder, Mapping) or not all(map(_is_added, decoder.items())):
        yield "added_tokens_decoder does not map numbers to tokens"
    if not _are_templates(settings.get("chat_template")):
        yield "chat_template is not a template"


def _is_token(value: object, *, needs_mark: bool = False) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, str)
    return isinstance(value.get("content"), str) and ("__type" in value or not needs_mark)


def _are_tokens(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_token(token) or isinstance(token, list | tuple) for token in value.values())
    return value is None or (isinstance(value, list | tuple) and all(map(_is_token, value)))


def _is_added(entry: tuple[str, object]) -> bool:
    number, token = entry
    digits = number.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and isinstance(token, Mapping)


def _are_templates(value: object) -> bool:
    """Return whether a list of templates names each of them; a value of another type is no template, and harmless."""
    if not isinstance(value, list | tuple):
        return True
    return all(isinstance(one, Mapping) and "name" in one and "template" in one for one in value)
