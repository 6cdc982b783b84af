"""tokenizer.json: whether a tokenizer can be read from it, without building it.

The checks are those that the tokenizers library and transformers make of the outer form. The contents of the
vocabulary, the merges and the rules are skipped: a listing reads hundreds of these files, some of 30 MB.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

_Id = Annotated[int, Meta(ge=0, lt=2**32)]
_Count = Annotated[int, Meta(ge=0)]
_NULL = Raw(b"null")
_MAX_REASON, _MAX_NAME = 200, 40
"""The characters of a reason, and of a name in one."""
_LONGEST_EMPTY = 1024
"""The bytes up to which an empty object, perhaps with blanks in it, is recognised."""


class _AddedToken(Struct, gc=False):
    id: _Id
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class _Model(Struct):
    """The fields of all kinds of models together."""

    vocab: Raw
    type: str | UnsetType = UNSET  # old files do not name it
    merges: Raw | UnsetType = UNSET
    unk_token: str | UnsetType | None = UNSET
    unk_id: _Count | None = None
    continuing_subword_prefix: str | UnsetType | None = UNSET
    max_input_chars_per_word: _Count | UnsetType = UNSET
    end_of_word_suffix: str | None = None
    dropout: Annotated[float, Meta(ge=0, le=1)] | None = None
    byte_fallback: bool | None = None
    fuse_unk: bool | None = None
    ignore_merges: bool | None = None


class _Tokenizer(Struct):
    added_tokens: Raw
    model: _Model
    version: Literal["1.0"] = "1.0"
    truncation: Raw = _NULL
    padding: Raw = _NULL
    normalizer: Raw = _NULL
    pre_tokenizer: Raw = _NULL
    post_processor: Raw = _NULL
    decoder: Raw = _NULL


_DECODER = msgspec.json.Decoder(_Tokenizer)
_ADDED_TOKENS = msgspec.json.Decoder(list[_AddedToken])
MAX_ADDED_TOKENS = 9 * 2**13
"""Speech models add 65,536 tokens."""
_PARTS = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
_REQUIRED = {
    "BPE": ("merges",),
    "Unigram": (),
    "WordLevel": ("unk_token",),
    "WordPiece": ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word"),
}
"""The fields that a type of model must have."""


class NoTokenizerError(ValueError):
    """JSON from which no tokenizer can be read."""


def check(data: bytes) -> None:
    """Raise NoTokenizerError with the reason, or what msgspec raises for bytes that are no JSON object."""
    try:
        found = _DECODER.decode(data)
    except msgspec.ValidationError as exc:
        if data.lstrip()[:1] != b"{":
            raise
        raise NoTokenizerError(_reason(str(exc))) from exc
    reason = _problem(found, has_added_tokens=_has_added_tokens(found.added_tokens))
    if reason is not None:
        raise NoTokenizerError(reason)


def _has_added_tokens(part: Raw) -> bool:
    if bytes(part).count(b"{") > MAX_ADDED_TOKENS:
        msg = f"it has more than {MAX_ADDED_TOKENS} added tokens"
        raise NoTokenizerError(msg)
    try:
        return bool(_ADDED_TOKENS.decode(part))
    except msgspec.ValidationError as exc:
        raise NoTokenizerError(_reason(str(exc).replace("$", "$.added_tokens", 1))) from exc


def _reason(said: str) -> str:
    """Return what msgspec says, without its capital and its marks of code."""
    text = said.replace("`", "'")[:_MAX_REASON]
    return text[:1].lower() + text[1:]


def _problem(found: _Tokenizer, *, has_added_tokens: bool) -> str | None:
    for name in _PARTS:
        part = getattr(found, name)
        if part != _NULL and (_first(part) not in "{[" or _is_empty(part)):
            return f"{name} has no settings"
    return _model_problem(found.model, has_added_tokens=has_added_tokens)


def _model_problem(model: _Model, *, has_added_tokens: bool) -> str | None:
    if model.type is not UNSET:
        if model.type not in _REQUIRED:
            return f"there is no model of type {model.type[:_MAX_NAME]!a}"
        for name in _REQUIRED[model.type]:
            if getattr(model, name) in (UNSET, None):
                return f"its model lacks {name}"
        if _first(model.vocab) != ("[" if model.type == "Unigram" else "{"):
            return "its vocabulary has the wrong form"
    if model.merges is not UNSET and _first(model.merges) != "[":
        return "its merges are not an array"
    return "its vocabulary is empty" if _is_empty(model.vocab) and not has_added_tokens else None


def _first(part: Raw) -> str:
    return chr(memoryview(part)[0])


def _is_empty(part: Raw) -> bool:
    """Return whether an object or an array has nothing in it."""
    data = memoryview(part)
    return len(data) < _LONGEST_EMPTY and not bytes(data)[1:-1].strip()
