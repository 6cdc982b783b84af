"""What the tokenizers library reads is never called damaged, whatever was changed in the file."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mlxknife.adapters.folder.json_files import tokenizer
from mlxknife.domain.integrity.rules import tokenizers
from tests.tokenizer_files import KINDS, tokenizer_json

_VALUES: tuple[object, ...] = (None, 7, -1, 0.5, "x", "", True, [], {}, [7], {"a": 7}, ["a"])
_FIRST = 2
_DEPTH = 4


def _paths(value: object, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places in a JSON value, of a long array or object only the first."""
    if before:
        yield before
    if len(before) < _DEPTH and isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys if len(keys) < 20 else list(keys)[:_FIRST]:
            yield from _paths(value[key], (*before, key))


_PLACES = [(kind, path) for kind in KINDS for path in _paths(json.loads(tokenizer_json(kind)))]


def _changed(kind: str, path: tuple[Any, ...], value: object) -> str:
    """Return a tokenizer with another value at a place, or without it."""
    content = copy.deepcopy(json.loads(tokenizer_json(kind)))
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(content)


def _is_read(text: str) -> bool:
    """Whether the library builds a tokenizer. transformers itself needs the list of added tokens."""
    try:
        Tokenizer.from_str(text)
    except Exception:  # noqa: BLE001 - the library has no type of its own
        return False
    return isinstance(json.loads(text).get("added_tokens"), list)


@given(place=st.sampled_from(_PLACES), value=st.sampled_from((*_VALUES, ...)))
def test_a_tokenizer_that_can_be_read_is_intact(place: tuple[str, tuple[Any, ...]], value: object) -> None:
    text = _changed(*place, value)
    if _is_read(text):
        problem = tokenizer(text.encode()).problem or ""
        assert problem in ("", "is not a tokenizer: its vocabulary is empty")


def test_every_kind_of_tokenizer_is_intact_and_none_without_one_of_its_parts_is() -> None:
    for kind in KINDS:
        assert tokenizer(tokenizer_json(kind).encode()).problem is None
        for name in ("added_tokens", "model"):
            problem = tokenizer(_changed(kind, (name,), ...).encode()).problem
            assert problem == f"is not a tokenizer: object missing required field '{name}'"


_KEYS = "tokenizer_class bos_token pad_token extra_special_tokens padding_side added_tokens_decoder chat_template other"
_SETTINGS = st.dictionaries(
    st.sampled_from(_KEYS.split()),
    st.recursive(
        st.sampled_from(_VALUES), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    ),
)


@given(settings=_SETTINGS, needs_mark=st.booleans())
def test_any_settings_are_judged(settings: dict[str, object], *, needs_mark: bool) -> None:
    assert all(problem.split()[0] in settings for problem in tokenizers.problems(settings, needs_mark=needs_mark))
