"""An option of an answer has the same range on the command line and over HTTP."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.values.request import GenerationOptions, SamplingParameters
from mlxknife.http.apis.openai.bodies import ChatCompletionBody

_BODY = {"model": "one", "messages": [{"role": "user", "content": "Hi"}]}
_SAMPLING = ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
_WHOLE = ("top_k", "max_tokens", "n")


def _options(name: str, value: float) -> GenerationOptions:
    if name in attrs.fields_dict(SamplingParameters):
        return GenerationOptions(sampling=SamplingParameters(**{name: value}))  # type: ignore[arg-type] # any field
    changes: dict[str, Any] = {name: value}
    return GenerationOptions(**changes)


def _is_valid_option(name: str, value: float) -> bool:
    try:
        rules.check(_options(name, value))
    except ValidationError:
        return False
    return True


def _is_valid_field(name: str, value: float) -> bool:
    try:
        msgspec.convert(_BODY | {name: value}, ChatCompletionBody)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", _SAMPLING)
@given(value=st.floats(-3, 3) | st.floats(90, 110))
@example(value=2.0)
@example(value=2.0000001)
@example(value=100.1)
def test_a_number_is_valid_for_both_or_for_none(name: str, value: float) -> None:
    assert _is_valid_option(name, value) is _is_valid_field(name, value)


@pytest.mark.parametrize("name", _WHOLE)
@given(value=st.integers(-3, 20) | st.integers(2**31 - 3, 2**31 + 3))
def test_a_whole_number_is_valid_for_both_or_for_none(name: str, value: int) -> None:
    assert _is_valid_option(name, value) is _is_valid_field(name, value)
