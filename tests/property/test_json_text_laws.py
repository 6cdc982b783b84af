"""Shortcuts for large JSON files: they find what a complete decoding finds."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.adapters.folder.json_files import check_utf8, without_attributes

_CHUNK = 64 * 1024
_KEY = "added_tokens_decoder"
_TEXTS = st.text(alphabet='ab,[]{}:"\\\n\u00e9', max_size=6)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=12,
)
_TOKENS = st.dictionaries(_TEXTS, st.dictionaries(_TEXTS, _VALUES, max_size=4), max_size=4)


@given(st.dictionaries(_TEXTS | st.just(_KEY), _VALUES, max_size=4), _TOKENS)
def test_only_the_attributes_of_added_tokens_are_left_out(
    members: Mapping[str, object], tokens: Mapping[str, object]
) -> None:
    data = json.dumps({**members, _KEY: tokens}, ensure_ascii=False).encode()
    assert json.loads(without_attributes(data)) == {**members, _KEY: {number: {} for number in tokens}}


@given(_VALUES, st.binary(max_size=4))
@example({_KEY: [1]}, b"")
@example({_KEY: {"1": 1}}, b"")
@example({"a": {_KEY: {"1": {"a": 1}}}}, b"")
def test_what_has_another_form_is_left_as_it_is(value: object, rest: bytes) -> None:
    data = json.dumps(value).encode() + rest
    assert without_attributes(data) == data


@given(st.text("a\u00e9\u20ac\U0001f600", max_size=6), st.integers(0, 8), st.binary(max_size=4))
@example("\u20ac", 1, b"\xe2\x82")
def test_text_is_checked_as_if_it_were_decoded_at_once(text: str, before: int, rest: bytes) -> None:
    """The characters lie across the end of the first chunk."""
    data = b"a" * (_CHUNK - before) + text.encode() + rest
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            check_utf8(data)
    else:
        check_utf8(data)
