"""Rows: which tokens a model rejects."""

from __future__ import annotations

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import Hint, HintCode

_BIAS = SamplingParameters(logit_bias=((3, 1.0),))


@pytest.mark.parametrize(
    ("row", "field"),
    [(Row(1, (1, 3), 1), "prompt"), (Row(1, (-1,), 1), "prompt"), (Row(1, (1,), 1, _BIAS), "logit_bias")],
)
def test_tokens_outside_the_vocabulary_are_rejected(row: Row, field: str) -> None:
    with pytest.raises(ValidationError, match=rf"^{field} has token (3|-1), and the model knows 0 to 2$") as caught:
        row.check_vocabulary(3)
    assert (caught.value.param, caught.value.hint) == (field, Hint(HintCode.MODEL_TOKENS))


def test_an_empty_prompt_is_rejected() -> None:
    with pytest.raises(ValidationError, match=r"^prompt is empty$") as caught:
        Row(1, (), 1).check_vocabulary(3)
    assert (caught.value.param, caught.value.hint) == ("prompt", Hint(HintCode.NONEMPTY_PROMPT))


def test_tokens_of_the_vocabulary_are_accepted() -> None:
    Row(0, (0, 1, 2), 1, SamplingParameters(logit_bias=((0, -100.0), (2, 100.0)))).check_vocabulary(3)
