"""Checks of option values: exactly the values in the range, or of the choice, pass."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.checks import check_choice, check_range
from mlxknife.domain.errors import ValidationError

numbers = st.integers(-(2**70), 2**70) | st.floats()
bounds = st.tuples(st.integers(-100, 100) | st.floats(-100, 100), st.integers(0, 100)).map(
    lambda pair: (pair[0], sum(pair))
)


@given(numbers, bounds)
def test_a_number_passes_if_and_only_if_it_is_in_the_range(value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if low <= value <= high:
        check_range("top_p", value, low, high)
        return
    with pytest.raises(ValidationError) as caught:
        check_range("top_p", value, low, high)
    assert caught.value.param == "top_p"
    assert caught.value.message == f"top_p must be between {low} and {high}, not {value}"


@pytest.mark.parametrize("value", [True, False, "1", "x", [1], {}, 1j, object()])
def test_what_is_not_a_number_is_refused_even_where_it_equals_one(value: object) -> None:
    with pytest.raises(ValidationError, match=r"^seed must be a number, not ") as caught:
        check_range("seed", cast("float", value), 0, 1)
    assert caught.value.param == "seed"


@given(st.integers(-5, 5) | st.text(max_size=3), st.lists(st.integers(-5, 5) | st.text(max_size=3)))
def test_a_value_passes_if_and_only_if_it_is_one_of_the_choice(value: object, allowed: list[object]) -> None:
    if value in allowed:
        check_choice("kv_bits", value, allowed)
        return
    with pytest.raises(ValidationError, match=r"^kv_bits must be one of ") as caught:
        check_choice("kv_bits", value, allowed)
    assert caught.value.param == "kv_bits"
    assert caught.value.message.endswith(f", not {value!r}")


@given(bounds)
def test_an_option_that_is_not_set_passes(limits: tuple[float, float]) -> None:
    check_range("top_p", None, *limits)
    check_choice("kv_bits", None, limits)
