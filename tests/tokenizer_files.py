"""Tokenizers of the kinds that models have, small enough to be built in a moment."""

from __future__ import annotations

from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.parrot.tokens import build_tokenizer

_TEXTS = [
    "Die Sonne scheint über dem Fluss, und die Kinder spielen.",
    "the sun, the son, the sons' suns",
    "你好 世界",
] * 5
_MARKS = ("<think>", "</think>", "<a b>", "<é>")
_BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
_SPACE = "▁"


@cache
def written(kind: str) -> str:
    """Return a tokenizer of a kind, as a model's folder holds it."""
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


SPELT = (
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
"""Those whose tokens can be spelt one by one."""
KINDS = (*SPELT, "word pieces", "end of word")
LOSSLESS = ("parrot", "byte-level", "llama 2", "gemma", "unigram with bytes")
"""Those that can say any text."""


def _marked(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in _MARKS])
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
    return _marked(tokenizer)


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
    return _marked(tokenizer)


def _metaspace(scheme: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", _SPACE * 3], show_progress=False)
    tokenizer.train_from_iterator(_TEXTS, trainer)
    return _marked(tokenizer)


def _unigram(*, has_bytes: bool = False) -> Tokenizer:
    words = [f"{_SPACE}the", "s", "un", f"{_SPACE}s", _SPACE, "on", "é"]
    names = ["<unk>", *(_BYTE_TOKENS if has_bytes else ()), *words]
    tokenizer = Tokenizer(models.Unigram([(name, -1.0) for name in names], 0, has_bytes))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    metaspace = decoders.Metaspace()
    chain = decoders.Sequence([decoders.ByteFallback(), metaspace]) if has_bytes else metaspace
    tokenizer.decoder = chain
    return _marked(tokenizer)


def _words() -> Tokenizer:
    names = ("<unk>", "the", "sun", "", "é", "你好")
    model = models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _marked(tokenizer)


def _word_pieces() -> Tokenizer:
    names = ("[UNK]", "the", "sun", "##s", "##n", ".", "é", "不")
    model = models.WordPiece({name: number for number, name in enumerate(names)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return _marked(tokenizer)


def _end_of_word() -> Tokenizer:
    names = ("<unk>", "t", "h", "e</w>", "the</w>", "é</w>")
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder()
    return _marked(tokenizer)
