"""Hostile tokenizers: each is read or refused with a typed error, and none ends the process."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.adapters.mlx.text import tokenizer as tokenizer_module
from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.text import Tokenizer
from tests.tokenizer_files import fast_tokenizer, tokenizer_json


def _changed(kind: str, **parts: object) -> str:
    return json.dumps(json.loads(tokenizer_json(kind)) | parts)


def _nested(content: str, key: str, inner: str, depth: int) -> str:
    """Return a tokenizer with a part nested so deep that Python's json could not write it."""
    head = f'{{"type": "Sequence", "{inner}": ['
    return content.replace(f'"{key}": null', f'"{key}": {head * depth}{"]}" * depth}')


def _loaded(content: str) -> Tokenizer:
    """Load a tokenizer from a folder as a model's is. Raises EngineError."""
    load_fast_blas()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        (folder / "config.json").write_text('{"model_type": "llama"}')
        with library_errors("The model could not be loaded"):
            return tokenizer_module.wrapped(tokenizer_module.load(folder))


def _result(content: str) -> str:
    """Return the text after encoding and decoding, or how the tokenizer was refused."""
    try:
        tokenizer = _loaded(content)
        detokenizer = tokenizer.detokenizer()
        tokens = tokenizer.encode("the sun 👍 <think> \ud800", add_special_tokens=True)
        text = "".join(map(detokenizer.feed, tokens)) + detokenizer.finish()
        assert all(isinstance(tokenizer.token_bytes(token), bytes) for token in (*tokens, -1, 10**12))
    except EngineError as error:
        return f"refused: {error.message}"
    return text


@pytest.mark.parametrize("number", [1, 3, 7, 10**6, 2**40, -1, 1.5, "0", None])
def test_an_unknown_token_outside_the_vocabulary_is_refused_or_not_used(number: object) -> None:
    content = json.loads(tokenizer_json("unigram"))
    content["model"]["unk_id"] = number
    assert _result(json.dumps(content))


def test_a_panic_of_the_library_raises_engine_error() -> None:
    model = {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]], "byte_fallback": False}
    assert _result(_changed("unigram", model=model, added_tokens=[], post_processor=None)).startswith("refused: ")


def test_truncation_and_padding_are_switched_off() -> None:
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 5000},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    plain, changed = (
        _loaded(tokenizer_json("parrot")),
        _loaded(_changed("parrot", truncation=truncation, padding=padding)),
    )
    for add_special_tokens in (False, True):
        tokens = changed.encode("the sun", add_special_tokens=add_special_tokens)
        assert tokens == plain.encode("the sun", add_special_tokens=add_special_tokens)
        assert len(tokens) == len("the sun")


@pytest.mark.parametrize("depth", [5, 60, 5000])
@pytest.mark.parametrize("key", ["decoder", "normalizer", "pre_tokenizer", "post_processor"])
def test_deeply_nested_parts_are_read_or_refused(key: str, depth: int) -> None:
    inner = {"decoder": "decoders", "normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
    content = _nested(_changed("llama 2", **{key: None}), key, inner.get(key, "processors"), depth)
    assert "Sequence" in content
    assert _result(content).startswith("refused: ") == (depth > 100)


@pytest.mark.parametrize("pattern", [{"String": "a"}, {"String": ""}, {"Regex": ""}, {"Regex": "."}])
@pytest.mark.parametrize(("key", "inner"), [("decoder", "decoders"), ("normalizer", "normalizers")])
def test_rules_that_lengthen_a_text_without_limit_are_refused(key: str, inner: str, pattern: dict[str, str]) -> None:
    rules = [{"type": "Replace", "pattern": pattern, "content": "a" * 1000}] * 10
    nested = {"type": "Sequence", inner: [{"type": "Sequence", inner: rules}]}
    assert "its rules can lengthen a text without limit" in _result(_changed("llama 2", **{key: nested}))


def test_an_added_token_that_the_normalizer_empties_is_refused() -> None:
    """The library would find it everywhere until the memory is full."""
    plain = {"single_word": False, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
    added = [{"id": 300, "content": "\n", **plain}, {"id": 301, "content": "<|im_start|>", **plain}]
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    assert "its normalizer empties one of its tokens" in _result(
        _changed("byte-level", added_tokens=added, normalizer=strip)
    )


def test_rules_that_put_a_long_text_before_a_prompt_are_refused() -> None:
    rules = [{"type": "Prepend", "prepend": "a" * 100}] * 100
    assert "its rules can lengthen a text without limit" in _result(
        _changed("llama 2", normalizer={"type": "Sequence", "normalizers": rules})
    )


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
def test_unusual_decoders_are_read_or_refused(link: object, after: list[object]) -> None:
    _result(_changed("llama 2", decoder={"type": "Sequence", "decoders": [*after, link]}))


@pytest.mark.parametrize("number", [-1, 2**32, 2**63, 0, 99_999])
def test_unusual_token_numbers_are_read_or_refused(number: int) -> None:
    added = [{"id": number, "content": "<x>", "special": True} | dict.fromkeys(_FLAGS, False)]
    assert _result(_changed("parrot", added_tokens=added))
    content = json.loads(tokenizer_json("parrot"))
    content["model"]["vocab"]["the"] = number
    assert _result(json.dumps(content))


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def test_invalid_bytes_are_not_held_back() -> None:
    tokenizer = fast_tokenizer("byte-level")
    detokenizer = tokenizer.detokenizer()
    (invalid,) = [number for number in range(400) if tokenizer.token_bytes(number) == b"\x80"]
    assert "".join(detokenizer.feed(invalid) for _ in range(100_000)) == "\ufffd" * 100_000
