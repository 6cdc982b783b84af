"""Tokenizers of strangers: each is read or refused, and none takes the process down or answers for another."""

from __future__ import annotations

import json

import pytest

from mlxknife.adapters.mlx.text.hf_tokenizer import HfTokenizers
from mlxknife.domain.errors import EngineError
from tests.contracts.vocabularies import written


def _changed(kind: str, **parts: object) -> str:
    return json.dumps(json.loads(written(kind)) | parts)


def _nested(content: str, key: str, inner: str, depth: int) -> str:
    """Return a tokenizer in whose part stands a part, and so on; the library of this language could not write it."""
    head = f'{{"type": "Sequence", "{inner}": ['
    return content.replace(f'"{key}": null', f'"{key}": {head * depth}{"]}" * depth}')


def _ending(content: str) -> str:
    """Return how it ends to open a tokenizer and to use it: in a text, or in an error of the contract."""
    try:
        tokenizer = HfTokenizers().open(content)
        joining = tokenizer.joining()
        tokens = tokenizer.tokens("the sun 👍 <think> \ud800", is_rendered=False)
        told = "".join(map(joining.feed, tokens)) + joining.rest()
        assert all(isinstance(tokenizer.bytes_of(token), bytes) for token in (*tokens, -1, 10**12))
    except EngineError as error:
        return f"refused: {error.message}"
    return told


@pytest.mark.parametrize("number", [1, 3, 7, 10**6, 2**40, -1, 1.5, "0", None])
def test_an_unknown_token_that_is_not_there_is_refused_or_never_met(number: object) -> None:
    content = json.loads(written("unigram"))
    content["model"]["unk_id"] = number
    assert _ending(json.dumps(content))


def test_whoever_breaks_down_is_not_an_end_of_the_process() -> None:
    model = {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]], "byte_fallback": False}
    assert _ending(_changed("unigram", model=model, added_tokens=[], post_processor=None)).startswith("refused: ")


def test_what_would_cut_or_fill_a_prompt_is_switched_off() -> None:
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    fill = {
        "strategy": {"Fixed": 5000},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    plain, changed = (
        HfTokenizers().open(content)
        for content in (written("parrot"), _changed("parrot", truncation=cut, padding=fill))
    )
    assert changed.tokens("the sun", is_rendered=False) == plain.tokens("the sun", is_rendered=False)
    assert len(changed.tokens("the sun", is_rendered=False)) == len("the sun")


@pytest.mark.parametrize("depth", [5, 60, 5000])
@pytest.mark.parametrize("key", ["decoder", "normalizer", "pre_tokenizer", "post_processor"])
def test_what_stands_deep_in_itself_is_read_or_refused(key: str, depth: int) -> None:
    inner = {"decoder": "decoders", "normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
    content = _nested(_changed("llama 2", **{key: None}), key, inner.get(key, "processors"), depth)
    assert "Sequence" in content
    assert _ending(content).startswith("refused: ") == (depth > 100)


@pytest.mark.parametrize("pattern", [{"String": "a"}, {"String": ""}, {"Regex": ""}, {"Regex": "."}])
@pytest.mark.parametrize(("key", "inner"), [("decoder", "decoders"), ("normalizer", "normalizers")])
def test_what_would_make_a_text_of_any_length_is_refused(key: str, inner: str, pattern: dict[str, str]) -> None:
    rules = [{"type": "Replace", "pattern": pattern, "content": "a" * 1000}] * 10
    nested = {"type": "Sequence", inner: [{"type": "Sequence", inner: rules}]}
    assert "too long" in _ending(_changed("llama 2", **{key: nested}))


def test_a_token_that_its_own_rules_leave_nothing_of_is_refused() -> None:
    """The library would look for it until there is no memory left."""
    plain = {"single_word": False, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
    marks = [{"id": 300, "content": "\n", **plain}, {"id": 301, "content": "<|im_start|>", **plain}]
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    assert "no letters" in _ending(_changed("byte-level", added_tokens=marks, normalizer=strip))


def test_a_long_head_of_a_text_is_refused() -> None:
    rules = [{"type": "Prepend", "prepend": "a" * 100}] * 100
    assert "too long" in _ending(_changed("llama 2", normalizer={"type": "Sequence", "normalizers": rules}))


@pytest.mark.parametrize(
    "link",
    [
        {"type": "Strip", "content": " ", "start": 2**63, "stop": 0},
        {"type": "Strip", "content": " ", "start": 1, "stop": 2**63},
        {"type": "Strip", "content": "", "start": 1, "stop": 0},
        {"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
        {"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": True},
        {"type": "WordPiece", "prefix": "", "cleanup": True},
        {"type": "Metaspace", "replacement": "ab", "prepend_scheme": "always"},
        {"type": "Nothing"},
        {},
        [],
        "Fuse",
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [[], [{"type": "Fuse"}], [{"type": "ByteLevel"}], [{"type": "ByteFallback"}]])
def test_odd_decoders_are_read_or_refused(link: object, after: list[object]) -> None:
    _ending(_changed("llama 2", decoder={"type": "Sequence", "decoders": [*after, link]}))


@pytest.mark.parametrize("number", [-1, 2**32, 2**63, 0, 99_999])
def test_odd_numbers_of_tokens_are_read_or_refused(number: int) -> None:
    added = [{"id": number, "content": "<x>", "special": True} | dict.fromkeys(_FLAGS, False)]
    assert _ending(_changed("parrot", added_tokens=added))
    content = json.loads(written("parrot"))
    content["model"]["vocab"]["the"] = number
    assert _ending(json.dumps(content))


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def test_tokens_that_mean_nothing_are_told_at_once_or_not_at_all() -> None:
    tokenizer = HfTokenizers().open(written("byte-level"))
    joining = tokenizer.joining()
    (wrong,) = [number for number in range(400) if tokenizer.bytes_of(number) == b"\x80"]
    assert "".join(joining.feed(wrong) for _ in range(100_000)) == "\ufffd" * 100_000
