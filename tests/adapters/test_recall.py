"""A tokenizer that remembers cuts every text as one that does not."""

from __future__ import annotations

import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from mlxknife.adapters.mlx.text import tokenizer_bounds
from mlxknife.adapters.mlx.text.token_cache import Marks, Recall
from mlxknife.adapters.mlx.text.tokenizer_failures import our_errors
from mlxknife.domain.errors import EngineError

MARKS = ("<|im_start|>", "<|im_end|>", "<s>", "s>", "<|im", "[T]")
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

pieces = st.sampled_from((*MARKS, *WORDS))
texts = st.lists(pieces, max_size=12).map("".join)


@st.composite
def added(draw: st.DrawFn) -> list[AddedToken]:
    marks = draw(st.lists(st.sampled_from((*MARKS, " x", "\n", "\u0120", "\u0120\u0120")), unique=True, min_size=1))
    flag = st.booleans()
    return [
        AddedToken(
            mark,
            special=draw(flag),
            normalized=draw(st.integers(0, 3)) == 0,
            lstrip=draw(st.integers(0, 3)) == 0,
            rstrip=draw(st.integers(0, 3)) == 0,
            single_word=draw(st.integers(0, 3)) == 0,
        )
        for mark in marks
    ]


@st.composite
def opened(draw: st.DrawFn) -> tokenizers.Tokenizer:
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
    made.add_tokens(draw(added()))
    assume(not_refused(made))
    return made


def not_refused(tokenizer: tokenizers.Tokenizer) -> bool:
    try:
        tokenizer_bounds.check_marks(tokenizer)
    except EngineError:
        return False
    return True


def cut_whole(tokenizer: tokenizers.Tokenizer, text: str) -> tuple[int, ...] | None:
    """Return the tokens as the library has them, or None where it fails, as it does at some marks that take blanks."""
    try:
        with our_errors("cut a text into tokens"):
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    except EngineError:
        return None


@settings(max_examples=400)
@given(tokenizer=opened(), talk=st.lists(st.tuples(st.integers(0, 20), texts), min_size=1, max_size=8))
def test_a_conversation_that_goes_on_or_turns_off_is_cut_as_a_whole(
    tokenizer: tokenizers.Tokenizer, talk: list[tuple[int, str]]
) -> None:
    recall = Recall(lambda text: tokenizer.encode(text, add_special_tokens=False), Marks.of(tokenizer), shortest=0)
    text = ""
    for kept, more in talk:
        text = text[: -kept or None] + more
        expected = cut_whole(tokenizer, text)
        if expected is None:
            return
        assert recall.tokens(text) == expected


def test_what_was_cut_is_not_cut_again() -> None:
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab={letter: number for number, letter in enumerate("?abc ")}, merges=[])
    )
    tokenizer.add_tokens([AddedToken("<end>", special=True, normalized=False)])
    asked: list[str] = []

    def cut(text: str) -> tokenizers.Encoding:
        asked.append(text)
        return tokenizer.encode(text, add_special_tokens=False)

    recall = Recall(cut, Marks.of(tokenizer))
    first = "abc " * 500 + "<end>" + "abc abc"
    recall.tokens(first)
    recall.tokens(first + "<end>" + "cab")
    recall.tokens("cab" + first)
    assert [len(text) for text in asked] == [len(first), len("<end>abc abc<end>cab"), len("cab" + first)]
    assert asked[1].startswith("<end>abc abc")
