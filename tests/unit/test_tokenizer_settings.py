"""Settings of a tokenizer that transformers accepts, and those that it does not."""

from __future__ import annotations

import pytest

from mlxknife.domain.integrity.rules import tokenizers

_TOKEN = {"content": "<s>", "lstrip": False}
_GOOD: dict[str, list[object]] = {
    "tokenizer_class": [None, "LlamaTokenizerFast"],
    "bos_token": [None, "<s>", _TOKEN | {"__type": "AddedToken"}],
    "additional_special_tokens": [None, [], ["<s>", _TOKEN], {"image": "<s>"}],
    "extra_special_tokens": [{}, {"image": "<s>"}],
    "padding_side": ["left", "right"],
    "split_special_tokens": [True],
    "added_tokens_decoder": [{}, {"0": _TOKEN, "12": {}}],
    "chat_template": [None, "{{ x }}", 7, [], [{"name": "default", "template": "{{ x }}"}], {"default": "{{ x }}"}],
    "model_max_length": [10**30, "x"],
}
_BAD: dict[str, list[object]] = {
    "tokenizer_class": [7, ["LlamaTokenizer"], {}],
    "eos_token": [7, True, [], ["</s>"], {}, {"content": 7}, _TOKEN],
    "additional_special_tokens": [7, "x", [7], {"a": 7}],
    "truncation_side": [None, "x", 7],
    "split_special_tokens": [None, "x", 1],
    "added_tokens_decoder": [None, 7, [], {"a": _TOKEN}, {"0": "x"}],
    "chat_template": [[7], ["x"], [{"name": "default"}]],
}


def _each(table: dict[str, list[object]]) -> list[tuple[str, object]]:
    return [(key, value) for key, values in table.items() for value in values]


@pytest.mark.parametrize(("key", "value"), _each(_GOOD), ids=repr)
def test_settings_that_transformers_accepts(key: str, value: object) -> None:
    assert list(tokenizers.problems({key: value}, needs_mark=True)) == []


@pytest.mark.parametrize(("key", "value"), _each(_BAD), ids=repr)
def test_settings_that_transformers_does_not_accept(key: str, value: object) -> None:
    (problem,) = tokenizers.problems({key: value}, needs_mark=True)
    assert problem.startswith(f"{key} ")


def test_a_token_of_the_special_tokens_map_needs_no_mark() -> None:
    assert list(tokenizers.problems({"eos_token": _TOKEN}, needs_mark=False)) == []
