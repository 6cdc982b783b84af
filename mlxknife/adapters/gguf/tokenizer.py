"""tokenizer.json and tokenizer_config.json from the metadata of a GGUF file."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import PreTokenizer

from mlxknife.adapters.gguf.header import InvalidGguf
from mlxknife.adapters.gguf.metadata import GgufMetadata
from mlxknife.adapters.gguf.vocabulary import TokenType, Vocabulary, merges_by_score
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode

_PREFIX = "tokenizer.ggml"
_SPACE = "▁"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_PATTERNS = {"llama-bpe": _LLAMA3, "llama3": _LLAMA3, "qwen2": _QWEN2}
_ADDS_BOS = ("llama-bpe", "llama3")
"""The pre-tokenizers whose models need a BOS token where the file does not set ``add_bos_token``."""


def tokenizer_json(metadata: GgufMetadata, vocabulary: Vocabulary) -> str:
    """Return the content of tokenizer.json.

    Raises ValidationError for a tokenizer that is not supported, InvalidGguf for one that is damaged.
    """
    model = metadata.string(f"{_PREFIX}.model")
    if model not in ("gpt2", "llama"):
        msg = f"The tokenizer model {model!a} cannot be imported from GGUF"
        raise ValidationError(
            msg, hint=Hint(HintCode.CHOICES, values="gpt2 (byte-level BPE) and llama (SentencePiece)")
        )
    try:
        made = _byte_level(metadata, vocabulary) if model == "gpt2" else _sentencepiece(metadata, vocabulary)
        for token, is_special in vocabulary.added_tokens():
            added = AddedToken(token, special=is_special, normalized=False)
            made.add_special_tokens([added]) if is_special else made.add_tokens([added])
        _add_bos_and_eos(made, metadata, vocabulary, adds_bos=model == "llama")
        return made.to_str()
    except ValidationError:
        raise
    except Exception as exc:  # the tokenizers library raises plain Exception for what it does not accept
        msg = f"the tokenizers library refuses its vocabulary: {str(exc)[:100]!a}"
        raise InvalidGguf(msg) from exc


def _byte_level(metadata: GgufMetadata, vocabulary: Vocabulary) -> Tokenizer:
    """Return a byte-level BPE tokenizer, whose pieces are written in GPT-2's alphabet for bytes."""
    merges = metadata.strings(f"{_PREFIX}.merges")
    if merges is None:
        msg = f"{_PREFIX}.merges is missing"
        raise InvalidGguf(msg)
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    ids = vocabulary.ids()
    if any(left not in ids or right not in ids or left + right not in ids for left, right in pairs):
        msg = "its merges name tokens that it does not have"
        raise InvalidGguf(msg)
    pre = metadata.string(f"{_PREFIX}.pre") or "default"
    made = Tokenizer(BPE(vocab=ids, merges=pairs, fuse_unk=False, ignore_merges=pre in _ADDS_BOS))
    made.pre_tokenizer = _pre_tokenizer(pre)
    if pre == "qwen2":
        made.normalizer = normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    return made


def _pre_tokenizer(pre: str) -> PreTokenizer:
    """Return the pre-tokenizer that ``tokenizer.ggml.pre`` names. Raises ValidationError for an unknown one."""
    if pre in ("default", "gpt-2"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    if pre not in _PATTERNS:
        msg = f"The pre-tokenizer {pre[:50]!a} cannot be imported from GGUF yet"
        raise ValidationError(
            msg, hint=Hint(HintCode.CHOICES, values=", ".join(("default", "gpt-2", "smollm", *_PATTERNS)))
        )
    split = pre_tokenizers.Split(Regex(_PATTERNS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _sentencepiece(metadata: GgufMetadata, vocabulary: Vocabulary) -> Tokenizer:
    """Return a tokenizer with SentencePiece's rules, as the first two generations of Llama use it."""
    scores = metadata.numbers(f"{_PREFIX}.scores")
    if scores is None or len(scores) != len(vocabulary.tokens):
        msg = "it does not have a score for every token"
        raise InvalidGguf(msg)
    typed = zip(vocabulary.tokens, vocabulary.types, scores, strict=True)
    pieces = {token: score for token, kind, score in typed if kind in (TokenType.NORMAL, TokenType.USER_DEFINED)}
    ids = vocabulary.ids()
    made = Tokenizer(
        BPE(
            vocab=ids,
            merges=merges_by_score(pieces, {token: ids[token] for token in pieces}),
            unk_token=vocabulary.special_token("unk"),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces = [normalizers.Replace(" ", _SPACE)]
    decoding = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if metadata.boolean(f"{_PREFIX}.add_space_prefix") is not False:
        made.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), *spaces])
        made.decoder = decoders.Sequence([*decoding, decoders.Strip(" ", 1, 0)])
    else:
        made.normalizer = normalizers.Sequence(spaces)
        made.decoder = decoders.Sequence(decoding)
    return made


def _add_bos_and_eos(made: Tokenizer, metadata: GgufMetadata, vocabulary: Vocabulary, *, adds_bos: bool) -> None:
    """Let the tokenizer put BOS and EOS around a text where the model wants them."""
    is_added = {
        "bos": metadata.boolean(f"{_PREFIX}.add_bos_token"),
        "eos": metadata.boolean(f"{_PREFIX}.add_eos_token"),
    }
    if is_added["bos"] is None:
        is_added["bos"] = adds_bos or metadata.string(f"{_PREFIX}.pre") in _ADDS_BOS
    used = [role for role in ("bos", "eos") if is_added[role] and role in vocabulary.special_ids]
    if not used:
        return
    before, after = ["bos"] * ("bos" in used), ["eos"] * ("eos" in used)
    made.post_processor = processors.TemplateProcessing(
        single=[f"{part}:0" for part in (*before, "$A", *after)],
        pair=[*(f"{part}:0" for part in (*before, "$A", *after)), *(f"{part}:1" for part in (*before, "$B", *after))],
        special_tokens=[_template_token(role, vocabulary) for role in used],
    )


def _template_token(role: str, vocabulary: Vocabulary) -> dict[str, object]:
    """Return a special token under the name of its role: the token itself may hold characters of the template."""
    return {"id": role, "ids": [vocabulary.special_ids[role]], "tokens": [vocabulary.special_token(role)]}


def tokenizer_config(metadata: GgufMetadata, vocabulary: Vocabulary, context_length: int) -> dict[str, object]:
    """Return the content of tokenizer_config.json."""
    found: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
    }
    found |= {f"{role}_token": vocabulary.special_token(role) for role in vocabulary.special_ids}
    template = metadata.string("tokenizer.chat_template")
    return found if template is None else found | {"chat_template": template}
