"""Small tokenizers of every kind that models have."""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mlxknife.adapters.mlx.text import tokenizer as mlx_tokenizer
from mlxknife.adapters.mlx.text.tokenizer import FastTokenizer
from mlxknife.ports.engines.text import Tokenizer as TokenizerPort
from tests.parrot.tokens import build_tokenizer

_TEXTS = [
    "Die Sonne scheint über dem Fluss, und die Kinder spielen.",
    "the sun, the son, the sons' suns",
    "你好 世界",
] * 5
_ADDED = ("<think>", "</think>", "<a b>", "<é>")
_BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
_SPACE = "▁"


@cache
def tokenizer_json(kind: str) -> str:
    """Return the tokenizer.json of a kind."""
    return {
        "parrot": build_tokenizer,
        "byte-level": _byte_level,
        "llama 2": lambda: _with_bytes(strip=True),
        "gemma": lambda: _with_bytes(strip=False),
        "metaspace": lambda: _metaspace("always"),
        "metaspace first": lambda: _metaspace("first"),
        "metaspace never": lambda: _metaspace("never"),
        "unigram": _unigram,
        "unigram with bytes": lambda: _unigram(has_bytes=True),
        "words": _words,
        "word pieces": _word_pieces,
        "end of word": _end_of_word,
    }[kind]().to_str()


INDEPENDENT = (
    "parrot",
    "byte-level",
    "llama 2",
    "gemma",
    "metaspace",
    "metaspace first",
    "metaspace never",
    "unigram",
    "unigram with bytes",
    "words",
)
"""The kinds whose tokens are spelled independently."""
KINDS = (*INDEPENDENT, "word pieces", "end of word")
LOSSLESS = ("parrot", "byte-level", "llama 2", "gemma", "unigram with bytes")
"""The kinds that can encode every text."""
SENTENCEPIECE, BYTES_IN_PYTHON = "sentencepiece", "bytes in Python"
TRANSFORMERS_KINDS = (SENTENCEPIECE, BYTES_IN_PYTHON)
"""The kinds that the tokenizers library cannot run."""


@cache
def fast_tokenizer(kind: str, template: str = "") -> FastTokenizer:
    return FastTokenizer(Tokenizer.from_str(tokenizer_json(kind)), template)


@cache
def transformers_tokenizer(kind: str, template: str = "") -> TokenizerPort:
    """Return a tokenizer that only transformers can run, loaded from a folder as a model's is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_transformers_tokenizer(folder, kind)
        return mlx_tokenizer.wrapped(mlx_tokenizer.load(folder), template)


def write_transformers_tokenizer(folder: Path, kind: str) -> None:
    """Write the files of a tokenizer, and of a config that names its end token."""
    settings: dict[str, object] = {"tokenizer_class": "GPTSw3Tokenizer", "eos_token": "</s>"}
    if kind == SENTENCEPIECE:
        (folder / "spiece.model").write_bytes(_sentencepiece())
    else:
        added = {"extra_ids": 0, "additional_special_tokens": list(_ADDED[:2])}
        settings = {"tokenizer_class": "ByT5Tokenizer"} | added
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")


@cache
def _sentencepiece() -> bytes:
    import sentencepiece  # noqa: PLC0415 - few tests need it

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=330,
        byte_fallback=True,
        user_defined_symbols=list(_ADDED[:2]),
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return model.getvalue()


def _with_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in _ADDED])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS, trainer)
    return _with_added_tokens(tokenizer)


def _with_bytes(*, strip: bool) -> Tokenizer:
    letters = sorted({letter for text in _TEXTS for letter in text if letter.isascii() and letter != " "})
    names = ["<unk>", *_BYTE_TOKENS, _SPACE, *letters, f"{_SPACE}t", "th", f"{_SPACE}th"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: number for number, name in enumerate(names)},
            merges=[(_SPACE, "t"), ("t", "h"), (f"{_SPACE}t", "h")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    space = normalizers.Replace(" ", _SPACE)
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if strip:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), space])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        tokenizer.normalizer = space
    tokenizer.decoder = decoders.Sequence(steps)
    return _with_added_tokens(tokenizer)


def _metaspace(scheme: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", _SPACE * 3], show_progress=False)
    tokenizer.train_from_iterator(_TEXTS, trainer)
    return _with_added_tokens(tokenizer)


def _unigram(*, has_bytes: bool = False) -> Tokenizer:
    words = [f"{_SPACE}the", "s", "un", f"{_SPACE}s", _SPACE, "on", "é"]
    names = ["<unk>", *(_BYTE_TOKENS if has_bytes else ()), *words]
    tokenizer = Tokenizer(models.Unigram([(name, -1.0) for name in names], 0, has_bytes))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    metaspace = decoders.Metaspace()
    chain = decoders.Sequence([decoders.ByteFallback(), metaspace]) if has_bytes else metaspace
    tokenizer.decoder = chain
    return _with_added_tokens(tokenizer)


def _words() -> Tokenizer:
    names = ("<unk>", "the", "sun", "", "é", "你好")
    model = models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _with_added_tokens(tokenizer)


def _word_pieces() -> Tokenizer:
    names = ("[UNK]", "the", "sun", "##s", "##n", ".", "é", "不")
    model = models.WordPiece({name: number for number, name in enumerate(names)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return _with_added_tokens(tokenizer)


def _end_of_word() -> Tokenizer:
    names = ("<unk>", "t", "h", "e</w>", "the</w>", "é</w>")
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder()
    return _with_added_tokens(tokenizer)
