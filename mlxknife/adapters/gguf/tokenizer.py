"""tokenizer.json and tokenizer_config.json from the values of a GGUF file."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import PreTokenizer

from mlxknife.adapters.gguf.header import NotValid
from mlxknife.adapters.gguf.metadata import Metadata
from mlxknife.adapters.gguf.pieces import merges_by_score
from mlxknife.adapters.gguf.vocabulary import Kind, Vocabulary
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode

_KEY = "tokenizer.ggml"
_SPACE = "▁"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_BEGINS_WITH_BOS = ("llama-bpe", "llama3")
"""The ways to split a text whose models want their first token where a file does not say so."""


def tokenizer(metadata: Metadata, vocabulary: Vocabulary) -> str:
    """Return the tokenizer as JSON. Raises ValidationError for one that cannot be taken over, NotValid."""
    kind = metadata.text(f"{_KEY}.model")
    if kind not in ("gpt2", "llama"):
        msg = f"A tokenizer of the kind {kind!a} cannot be taken over from GGUF"
        raise ValidationError(
            msg, hint=Hint(HintCode.CHOICES, values="gpt2 (byte-level BPE) and llama (SentencePiece)")
        )
    try:
        made = _byte_level(metadata, vocabulary) if kind == "gpt2" else _sentencepiece(metadata, vocabulary)
        for token, is_special in vocabulary.added():
            added = AddedToken(token, special=is_special, normalized=False)
            made.add_special_tokens([added]) if is_special else made.add_tokens([added])
        _frame(made, metadata, vocabulary, begins_with_bos=kind == "llama")
        return made.to_str()
    except ValidationError:
        raise
    except Exception as exc:  # the library has no error class of its own for what it does not take
        msg = "its tokenizer makes no sense"
        raise NotValid(msg) from exc


def _byte_level(metadata: Metadata, vocabulary: Vocabulary) -> Tokenizer:
    """Return a tokenizer whose pieces are written in GPT-2's letters for bytes."""
    merges = metadata.texts(f"{_KEY}.merges")
    if merges is None:
        msg = "it has no merges"
        raise NotValid(msg)
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    ids = vocabulary.ids()
    if any(left not in ids or right not in ids or left + right not in ids for left, right in pairs):
        msg = "it merges tokens that it does not have"
        raise NotValid(msg)
    way = metadata.text(f"{_KEY}.pre") or "default"
    made = Tokenizer(BPE(vocab=ids, merges=pairs, fuse_unk=False, ignore_merges=way in _BEGINS_WITH_BOS))
    made.pre_tokenizer = _splitting(way)
    if way == "qwen2":
        made.normalizer = normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    return made


def _splitting(way: str) -> PreTokenizer:
    """Return what cuts a text into words. Raises ValidationError for a way that is not known here."""
    if way in ("default", "gpt-2"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if way == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    patterns = {"llama-bpe": _LLAMA3, "llama3": _LLAMA3, "qwen2": _QWEN2}
    if way not in patterns:
        msg = f"A tokenizer that splits texts the way of {way[:50]!a} cannot be taken over from GGUF yet"
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=f"default, gpt-2, smollm, {', '.join(patterns)}"))
    words = pre_tokenizers.Split(Regex(patterns[way]), behavior="isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _sentencepiece(metadata: Metadata, vocabulary: Vocabulary) -> Tokenizer:
    """Return a tokenizer with SentencePiece's rules, as Llama's first two generations have it."""
    scores = metadata.numbers(f"{_KEY}.scores")
    if scores is None or len(scores) != len(vocabulary.tokens):
        msg = "it does not have a score for every token"
        raise NotValid(msg)
    of_pieces = zip(vocabulary.tokens, vocabulary.kinds, scores, strict=True)
    pieces = {token: score for token, kind, score in of_pieces if kind in (Kind.NORMAL, Kind.USER_DEFINED)}
    ids = vocabulary.ids()
    made = Tokenizer(
        BPE(
            vocab=ids,
            merges=merges_by_score(pieces, {token: ids[token] for token in pieces}),
            unk_token=vocabulary.word("unk"),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces = [normalizers.Replace(" ", _SPACE)]
    words = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if metadata.flag(f"{_KEY}.add_space_prefix") is not False:
        made.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), *spaces])
        made.decoder = decoders.Sequence([*words, decoders.Strip(" ", 1, 0)])
    else:
        made.normalizer = normalizers.Sequence(spaces)
        made.decoder = decoders.Sequence(words)
    return made


def _frame(made: Tokenizer, metadata: Metadata, vocabulary: Vocabulary, *, begins_with_bos: bool) -> None:
    """Put the first and the last token around a text where the model wants them."""
    begins_with_bos = begins_with_bos or metadata.text(f"{_KEY}.pre") in _BEGINS_WITH_BOS
    wanted = {
        "bos": metadata.flag(f"{_KEY}.add_bos_token"),
        "eos": metadata.flag(f"{_KEY}.add_eos_token"),
    }
    wanted["bos"] = begins_with_bos if wanted["bos"] is None else wanted["bos"]
    used = [role for role in ("bos", "eos") if wanted[role] and role in vocabulary.roles]
    if not used:
        return
    first, last = ["bos"] * ("bos" in used), ["eos"] * ("eos" in used)
    made.post_processor = processors.TemplateProcessing(
        single=[f"{word}:0" for word in (*first, "$A", *last)],
        pair=[*(f"{word}:0" for word in (*first, "$A", *last)), *(f"{word}:1" for word in (*first, "$B", *last))],
        special_tokens=[_special(role, vocabulary) for role in used],
    )


def _special(role: str, vocabulary: Vocabulary) -> dict[str, object]:
    """Name a token by its role, so that no sign in the token itself can be taken for the template's."""
    return {"id": role, "ids": [vocabulary.roles[role]], "tokens": [vocabulary.word(role)]}


def settings(metadata: Metadata, vocabulary: Vocabulary, context: int) -> dict[str, object]:
    """Return the content of tokenizer_config.json."""
    found: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    found |= {f"{role}_token": vocabulary.word(role) for role in vocabulary.roles}
    template = metadata.text("tokenizer.chat_template")
    return found if template is None else found | {"chat_template": template}
