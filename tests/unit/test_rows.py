"""What a row may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.generation import Sampling
from mlxknife.domain.generation.values.rows import Row


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("prompt", {"prompt": ()}),
        ("max_tokens", {"max_tokens": 0}),
        ("frequency_penalty", {"frequency_penalty": 2.1}),
        ("presence_penalty", {"presence_penalty": float("nan")}),
        ("logit_bias", {"logit_bias": ((1, 101.0),)}),
        ("logit_bias", {"logit_bias": ((1, float("nan")),)}),
        ("logit_bias", {"logit_bias": ((1, 1.0), (1, 2.0))}),
        ("top_logprobs", {"top_logprobs": 21}),
        ("top_logprobs", {"top_logprobs": -1}),
        *((name, {"sampling": Sampling(**{name: -1})}) for name in ("temperature", "top_p", "top_k", "min_p", "seed")),
        ("temperature", {"sampling": Sampling(temperature=float("inf"))}),
        ("repetition_penalty", {"sampling": Sampling(repetition_penalty=0.0)}),
        ("seed", {"sampling": Sampling(seed=2**63)}),
    ],
)
def test_an_invalid_setting_is_refused_by_name(field: str, asked: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"id": 1, "prompt": (1,), "max_tokens": 1}
    with pytest.raises(ValidationError, match=rf"^{field}\b"):
        Row(**usual | asked)


def test_what_can_be_is_taken() -> None:
    sampling = Sampling(temperature=0.0, top_p=0.0, top_k=0, min_p=1.0, repetition_penalty=1.0, seed=2**63 - 1)
    row = Row(0, (1, 2), 1, sampling, -2.0, 2.0, ((0, -100.0), (1, 100.0)), 20)
    row.check_vocabulary(3)


@pytest.mark.parametrize("row", [Row(1, (1, 3), 1), Row(1, (-1,), 1), Row(1, (1,), 1, logit_bias=((3, 1.0),))])
def test_tokens_that_a_model_does_not_have_are_refused(row: Row) -> None:
    with pytest.raises(ValidationError, match=r"^(prompt|logit_bias) has token (3|-1), and the model knows 0 to 2$"):
        row.check_vocabulary(3)
