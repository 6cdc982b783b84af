"""KV cache options on families with different caches: limited, quantised, and with a draft model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from mlxknife.adapters.mlx.text.model import MlxTextModel
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import KVCacheOptions, SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import Hint, HintCode
from tests.adapters.untrained import GEMMA, LLAMA, MAMBA, load_model, write_model
from tests.parrot_rows import RowOutputs, run_rows

pytestmark = pytest.mark.timeout(1200)

_PROMPT = tuple(range(40, 100))
_MAX_TOKENS = 30
_PLAIN = KVCacheOptions()
Tokens = tuple[int, ...]


def _model(folder: Path, config: dict[str, Any]) -> MlxTextModel:
    return load_model(write_model(folder, config))


def _answer(model: MlxTextModel, options: KVCacheOptions = _PLAIN) -> tuple[Tokens, int]:
    """Return the tokens of an answer, and the number of prompt tokens that came from the prefix cache."""
    outputs = run_rows(model, [Row(1, _PROMPT, _MAX_TOKENS, kv_cache=options)])
    assert not outputs.errors
    return outputs.tokens(1), outputs.cached(1)


@pytest.mark.parametrize(
    ("config", "cached"), [(LLAMA, len(_PROMPT) - 1), (GEMMA, 0)], ids=["llama", "gemma, which drops tokens itself"]
)
def test_a_limit_changes_an_answer_only_if_tokens_are_dropped(
    tmp_path: Path, config: dict[str, Any], cached: int
) -> None:
    model = _model(tmp_path, config)
    whole, _ = _answer(model)
    assert _answer(model, KVCacheOptions(max_size=200)) == (whole, 0)
    assert _answer(model, KVCacheOptions(max_size=200)) == (whole, cached)
    short, _ = _answer(model, KVCacheOptions(max_size=16))
    assert short != whole
    assert _answer(model, KVCacheOptions(max_size=16)) == (short, 0)  # dropped tokens cannot be restored
    assert _answer(model)[0] == whole


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_a_kv_cache_is_quantised_from_its_start_on(tmp_path: Path, bits: int) -> None:
    model = _model(tmp_path, LLAMA)
    whole, _ = _answer(model)
    assert _answer(model, KVCacheOptions(bits, 32, quantized_start=1000)) == (whole, 0)
    quantised, cached = _answer(model, KVCacheOptions(bits, 64))
    assert (len(quantised), cached) == (_MAX_TOKENS, 0)
    assert quantised != whole or bits > 3
    assert _answer(model, KVCacheOptions(bits, 64))[1] == len(_PROMPT) - 1


@pytest.mark.parametrize(
    "options", [KVCacheOptions(bits=4), KVCacheOptions(max_size=32)], ids=["kv_bits", "max_kv_size"]
)
def test_rows_with_kv_cache_options_give_the_same_tokens_beside_others(tmp_path: Path, options: KVCacheOptions) -> None:
    random = SamplingParameters(temperature=1.5, seed=3)
    rows = [
        Row(number, _PROMPT[number:], 12, random if number % 3 else SamplingParameters(), kv_cache)
        for number, kv_cache in enumerate([options, _PLAIN, options, _PLAIN, options])
    ]
    location = write_model(tmp_path, LLAMA)
    with closing(load_model(location)) as model:
        together = run_rows(model, rows)
    for row in rows:
        with closing(load_model(location)) as model:
            alone = run_rows(model, [row])
        assert alone.tokens(row.id) == together.tokens(row.id)
        assert len(alone.tokens(row.id)) == row.max_tokens


def test_the_prefix_of_a_cancelled_quantised_row_is_reused(tmp_path: Path) -> None:
    model, options, outputs = _model(tmp_path, LLAMA), KVCacheOptions(bits=8), RowOutputs()
    model.add_row(Row(1, _PROMPT, _MAX_TOKENS, kv_cache=options))
    while len(outputs.tokens(1)) < 5:
        outputs.add(model.step())
    model.cancel_row(1)
    longer = (*_PROMPT, *outputs.tokens(1), 7)
    again = run_rows(model, [Row(2, longer, 5, kv_cache=options)])
    assert again.cached(2) >= len(_PROMPT)


@pytest.mark.parametrize(
    ("config", "group_size", "hint"),
    [
        (LLAMA, 128, Hint(HintCode.CHOICES, values="32, 64")),
        ({**LLAMA, "head_dim": 48}, 32, Hint(HintCode.OMIT, name="kv_bits")),
        ({**LLAMA, "head_dim": 96}, 64, Hint(HintCode.CHOICES, values="32")),
    ],
)
def test_a_group_size_that_does_not_divide_the_head_size_is_rejected(
    tmp_path: Path, config: dict[str, Any], group_size: int, hint: Hint
) -> None:
    model = _model(tmp_path, config)
    message = f"^kv_group_size {group_size} does not work with this model: its head size is {config['head_dim']}$"
    with pytest.raises(ValidationError, match=message) as caught:
        model.add_row(Row(1, _PROMPT, 1, kv_cache=KVCacheOptions(8, group_size, quantized_start=1000)))
    assert caught.value.hint == hint
    assert model.is_idle
    assert _answer(model)[0]


@pytest.mark.parametrize(
    ("config", "options", "name"),
    [
        (MAMBA, KVCacheOptions(max_size=64), "max_kv_size"),
        (MAMBA, KVCacheOptions(bits=8), "kv_bits"),
        (GEMMA, KVCacheOptions(bits=8), "kv_bits"),
    ],
    ids=["mamba, limited", "mamba, quantised", "gemma, quantised"],
)
def test_options_that_a_model_does_not_support_are_rejected_by_name(
    tmp_path: Path, config: dict[str, Any], options: KVCacheOptions, name: str
) -> None:
    model = _model(tmp_path, config)
    with pytest.raises(ValidationError, match=f"^{name} does not work with this model") as caught:
        model.add_row(Row(1, _PROMPT, 1, kv_cache=options))
    assert caught.value.hint == Hint(HintCode.OMIT, name=name)
    assert model.is_idle
    assert _answer(model)[0]


@pytest.mark.parametrize("untrimmable", [MAMBA, GEMMA], ids=lambda config: config["model_type"])
def test_speculative_decoding_needs_caches_that_can_be_trimmed(tmp_path: Path, untrimmable: dict[str, Any]) -> None:
    one, other = write_model(tmp_path / "one", LLAMA), write_model(tmp_path / "other", untrimmable)
    for model, draft, name in ((one, other, "draft_model"), (other, one, "the model")):
        with pytest.raises(ValidationError, match=f"^draft_model cannot be used here: {name} has a cache"):
            load_model(model, draft)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParameters(),
        SamplingParameters(repetition_penalty=1.5),
        SamplingParameters(frequency_penalty=1.0, presence_penalty=-1.0, logit_bias=((3, 2.0),)),
    ],
    ids=["plain", "repetition penalty", "frequency, presence, bias"],
)
def test_a_draft_model_does_not_change_greedy_answers(tmp_path: Path, sampling: SamplingParameters) -> None:
    one = write_model(tmp_path / "one", LLAMA)
    small = write_model(tmp_path / "other", {**LLAMA, "num_hidden_layers": 1})
    row = Row(1, _PROMPT, _MAX_TOKENS, sampling, top_logprobs=2)
    longer = attrs.evolve(row, id=2, max_tokens=20)
    answers = []
    for draft in (None, small, one):
        with closing(load_model(one, draft)) as model:
            first = run_rows(model, [row]).tokens(1)
            again = run_rows(model, [attrs.evolve(longer, prompt=(*_PROMPT, *first[:9], 5))])
            assert again.cached(2) >= len(_PROMPT)
            answers.append((first, again.tokens(2)))
    assert len(set(answers)) == 1
