"""The values of JSON are counted without decoding it: exactly, and never too low where the JSON is wrong."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.json_values import ValueLimits

_TEXTS = st.text(alphabet='ab,[]{}:"\\\n\u00e9\ud800', max_size=8)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(_TEXTS, inner, max_size=6)),
    max_leaves=30,
)


def _compound_and_commas(value: object) -> tuple[int, int]:
    """Return the number of strings, lists and objects in a value, and that of the commas between values."""
    if isinstance(value, str):
        return 1, 0
    inner: list[object] = []
    commas = 0
    if isinstance(value, list):
        inner, commas = value, max(0, len(value) - 1)
    elif isinstance(value, dict):
        inner, commas = [*value.keys(), *value.values()], max(0, len(value) - 1)
    else:
        return 0, 0
    counted = [_compound_and_commas(one) for one in inner]
    return 1 + sum(one[0] for one in counted), commas + sum(one[1] for one in counted)


@given(value=_VALUES, spaces=st.booleans())
def test_the_count_is_exact_whatever_is_in_the_strings(value: object, *, spaces: bool) -> None:
    body = json.dumps(value, separators=(", ", ": ") if spaces else (",", ":")).encode()
    compound, commas = _compound_and_commas(value)
    assert not _exceeds(body, compound, compound + commas)
    assert compound == 0 or _exceeds(body, compound - 1, compound + commas)
    assert commas == 0 or _exceeds(body, compound, compound + commas - 1)


@given(value=_VALUES, cut=st.integers(0, 100), rest=st.binary(max_size=20))
def test_a_mistake_hides_no_value_that_comes_before_it(value: object, cut: int, rest: bytes) -> None:
    whole = json.dumps([value, value]).encode()
    place = min(cut, len(whole))
    for limit in range(20):
        if _exceeds(whole[:place], limit, limit):
            assert _exceeds(whole[:place] + rest, limit, limit)


def _exceeds(data: bytes, compound: int, values: int) -> bool:
    return ValueLimits(compound, values).excess(data) is not None
