"""File names: the role of a file in a model, by its name alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from mlxknife.domain.models.values.chat_templates import TEMPLATE_JSON
from mlxknife.domain.models.values.snapshot import ReadingList

CONFIG = "config.json"
CARD = "README.md"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_JSON = "tokenizer.json"
SPECIAL_TOKENS = "special_tokens_map.json"
GENERATION_CONFIG = "generation_config.json"
PROCESSOR_CONFIGS = ("processor_config.json", "preprocessor_config.json")
MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
SENTENCE = "sentence_bert_config.json"
POOLING_FOLDER = "1_Pooling"
POOLING = f"{POOLING_FOLDER}/config.json"
DENSE_FOLDERS = ("2_Dense", "3_Dense", "4_Dense")
POOLING_MARKERS = (MODULES, PROMPTS, POOLING)
INDEX_SUFFIX = ".index.json"
SAFETENSORS = ".safetensors"
GGUF = ".gguf"
WEIGHT_SUFFIXES = (SAFETENSORS, GGUF, ".bin", ".pt", ".pth", ".npz")

_KINDS = (
    (INDEX_SUFFIX, "index"),
    (".json", "config"),
    (".md", "readme"),
    (".jinja", "template"),
)
_UNFINISHED_SUFFIXES = (".partial", ".tmp", ".incomplete")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_NOT_WEIGHTS = (
    "training_args.bin",
    "optimizer.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "scheduler.bin",
)
_ONE_FILE_TOKENIZERS = (
    TOKENIZER_JSON,
    "tokenizer.model",
    "tiktoken.model",
    "spm.model",
    "source.spm",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "vocab.txt",
)

READING_LIST = ReadingList(
    parse=frozenset(
        {
            CONFIG,
            TOKENIZER_CONFIG,
            SPECIAL_TOKENS,
            TEMPLATE_JSON,
            *PROCESSOR_CONFIGS,
            SENTENCE,
            MODULES,
            POOLING,
            *(f"{folder}/{CONFIG}" for folder in DENSE_FOLDERS),
        }
    ),
    check=frozenset(
        {
            "vocab.json",
            "added_tokens.json",
            "tekken.json",
        }
    ),
    tokenizers=frozenset({TOKENIZER_JSON}),
    text_suffixes=(".jinja",),
    parse_suffixes=(INDEX_SUFFIX,),
    weight_suffixes=(*WEIGHT_SUFFIXES, ".model", ".spm", ".tiktoken", "vocab.txt", "merges.txt"),
)
RUN_LIST = attrs.evolve(READING_LIST, parse=READING_LIST.parse | {GENERATION_CONFIG})
"""The files to read of a model that will run."""


def is_weight(name: str) -> bool:
    """Return whether a file contains weights of a model."""
    base = name.rpartition("/")[2]
    return base.endswith(WEIGHT_SUFFIXES) and base not in _NOT_WEIGHTS and not base.startswith("openvino_")


def is_unfinished_weight(name: str) -> bool:
    """Return whether a file is a partial weight file of an interrupted writer."""
    return name.endswith(_UNFINISHED_SUFFIXES) and is_weight(name.rpartition(".")[0])


def is_torch_weight(name: str) -> bool:
    """Return whether a file contains PyTorch weights."""
    base = name.rpartition("/")[2]
    return base.startswith(("pytorch_model", "model")) and base.endswith(".bin")


def has_tokenizer(names: Iterable[str]) -> bool:
    """Return whether the files contain a tokenizer in any known format."""
    top = {name for name in names if "/" not in name}
    return (
        not top.isdisjoint(_ONE_FILE_TOKENIZERS) or {"vocab.json", "merges.txt"} <= top or any(map(_is_vocabulary, top))
    )


def _is_vocabulary(name: str) -> bool:
    return name.endswith(".tiktoken") or name.startswith("rwkv_vocab")


def missing_shards(names: Iterable[str]) -> Iterator[str]:
    """Yield the missing files of numbered sets (``x-00001-of-00003``)."""
    sets: dict[tuple[str, int, str], set[int]] = {}
    for name in names:
        shard = _SHARD.fullmatch(name)
        if shard is not None and is_weight(name):
            key = (shard["stem"], int(shard["count"]), shard["suffix"])
            sets.setdefault(key, set()).add(int(shard["number"]))
    for (stem, count, suffix), present in sorted(sets.items()):
        for number in range(1, count + 1):
            if number not in present:
                yield f"{stem}-{number:05d}-of-{count:05d}{suffix}"


def kind(name: str) -> str:
    """Return the kind of a file, as the contract names it."""
    base = name.rpartition("/")[2]
    if is_weight(name):
        return "weights"
    if base in _ONE_FILE_TOKENIZERS or base in ("vocab.json", "merges.txt") or _is_vocabulary(base):
        return "tokenizer"
    return next((word for ending, word in _KINDS if base.endswith(ending)), "other")
