"""The token cache gives every text the same tokens as the library without it."""

from __future__ import annotations

import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.adapters.mlx.text import tokenizer_bounds
from mlxknife.adapters.mlx.text.token_cache import SplitTokens, TokenCache
from mlxknife.domain.errors import EngineError

ADDED = ("<|im_start|>", "<|im_end|>", "<s>", "s>", "<|im", "[T]")
WORDS = (
    "hi",
    " hi",
    "h",
    "I",
    "\n",
    "  ",
    "\t",
    "ß",
    "ﬁ",
    "e\u0301",
    "😀",
    "<",
    "<|",
    "<|im",
    "_end|>",
    "s",
    ">",
    "\u2581",
    "user",
    "\u0120",
)

pieces = st.sampled_from((*ADDED, *WORDS))
texts = st.lists(pieces, max_size=12).map("".join)


@st.composite
def added_tokens(draw: st.DrawFn) -> list[AddedToken]:
    names = draw(st.lists(st.sampled_from((*ADDED, " x", "\n", "\u0120", "\u0120\u0120")), unique=True, min_size=1))
    flag = st.booleans()
    return [
        AddedToken(
            name,
            special=draw(flag),
            normalized=draw(st.integers(0, 3)) == 0,
            lstrip=draw(st.integers(0, 3)) == 0,
            rstrip=draw(st.integers(0, 3)) == 0,
            single_word=draw(st.integers(0, 3)) == 0,
        )
        for name in names
    ]


@st.composite
def libraries(draw: st.DrawFn) -> tokenizers.Tokenizer:
    letters = sorted({*pre_tokenizers.ByteLevel.alphabet(), *"\u2581hiI<>|sme_ntdur[]T \n\tﬁß"})
    vocabulary = {letter: number for number, letter in enumerate(["?", *letters, "hi", "<|", "\u2581hi"])}
    made = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=[("h", "i"), ("<", "|"), ("\u2581", "hi")], unk_token="?")
    )
    splits = (
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Metaspace(prepend_scheme="always"),
        pre_tokenizers.Whitespace(),
    )
    made.pre_tokenizer = draw(st.sampled_from(splits))
    made.decoder = decoders.ByteLevel()
    trimming = draw(st.sampled_from((None, processors.ByteLevel(trim_offsets=True))))
    if trimming is not None:
        made.post_processor = trimming
    normalizer = draw(
        st.sampled_from(
            (
                None,
                normalizers.NFKC(),
                normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]),
                normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip()]),
            )
        )
    )
    if normalizer is not None:
        made.normalizer = normalizer
    made.add_tokens(draw(added_tokens()))
    assume(is_accepted(made))
    return made


def is_accepted(tokenizer: tokenizers.Tokenizer) -> bool:
    try:
        tokenizer_bounds.check_added_tokens(tokenizer)
    except EngineError:
        return False
    return True


def encoded_whole(tokenizer: tokenizers.Tokenizer, text: str) -> tuple[int, ...] | None:
    """Return the tokens of the library, or None if it fails, as it does at some added tokens that take blanks."""
    try:
        with library_errors("The text cannot be encoded"):
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    except EngineError:
        return None


@settings(max_examples=400)
@given(tokenizer=libraries(), edits=st.lists(st.tuples(st.integers(0, 20), texts), min_size=1, max_size=8))
def test_a_conversation_that_grows_or_changes_has_the_tokens_of_the_whole_text(
    tokenizer: tokenizers.Tokenizer, edits: list[tuple[int, str]]
) -> None:
    cache = TokenCache(
        lambda text: tokenizer.encode(text, add_special_tokens=False), SplitTokens.of(tokenizer), shortest=0
    )
    text = ""
    for removed, more in edits:
        text = text[: -removed or None] + more
        expected = encoded_whole(tokenizer, text)
        if expected is None:
            return
        assert cache.tokens(text) == expected


def test_the_start_of_a_growing_text_is_encoded_once() -> None:
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab={letter: number for number, letter in enumerate("?abc ")}, merges=[])
    )
    tokenizer.add_tokens([AddedToken("<end>", special=True, normalized=False)])
    encoded: list[str] = []

    def encode(text: str) -> tokenizers.Encoding:
        encoded.append(text)
        return tokenizer.encode(text, add_special_tokens=False)

    cache = TokenCache(encode, SplitTokens.of(tokenizer))
    first = "abc " * 500 + "<end>" + "abc abc"
    cache.tokens(first)
    cache.tokens(first + "<end>" + "cab")
    cache.tokens("cab" + first)
    assert [len(text) for text in encoded] == [len(first), len("<end>abc abc<end>cab"), len("cab" + first)]
    assert encoded[1].startswith("<end>abc abc")
