"""Tiny rerankers of every family with random weights. ``make_scores.py`` imports this module beside torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers, processors

from tests.references.families import CONFIGS, HEADS, INNER, LAYERS, WIDTH, Shapes, random_tensors, shapes

POSITIONS = 512
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")
_MERGES = [("y", "e"), ("ye", "s"), ("n", "o")]
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
_WORDS = (*_SPECIAL, *_BYTES, *(first + second for first, second in _MERGES))
_CLASSES = {
    "bert": "BertForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "modernbert": "ModernBertForSequenceClassification",
    "qwen3": "Qwen3ForCausalLM",
}
_PREFIXES = {"bert": "bert.", "xlm-roberta": "roberta.", "modernbert": "model.", "qwen3": ""}
_HEADS: dict[str, Shapes] = {
    "bert": {
        "bert.pooler.dense.weight": (WIDTH, WIDTH),
        "bert.pooler.dense.bias": (WIDTH,),
        "classifier.weight": (1, WIDTH),
        "classifier.bias": (1,),
    },
    "xlm-roberta": {
        "classifier.dense.weight": (WIDTH, WIDTH),
        "classifier.dense.bias": (WIDTH,),
        "classifier.out_proj.weight": (1, WIDTH),
        "classifier.out_proj.bias": (1,),
    },
    "modernbert": {
        "head.dense.weight": (WIDTH, WIDTH),
        "head.norm.weight": (WIDTH,),
        "classifier.weight": (1, WIDTH),
        "classifier.bias": (1,),
    },
    "qwen3": {},
}
_FORMS = {
    "bert": "<s> $A </s> $B:1 </s>:1",
    "xlm-roberta": "<s> $A </s> </s> $B </s>",
    "modernbert": "<s> $A </s> $B </s>",
}
FAMILIES = tuple(_CLASSES)
EXTRA: dict[str, dict[str, object]] = {"modernbert-mean": {"classifier_pooling": "mean"}}
"""Further configs of a family, by ``FAMILY-NAME``."""


def write_reranker(folder: Path, family: str, *, config: Mapping[str, object] | None = None, seed: int = 11) -> Path:
    """Write a reranker; ``config`` overrides values of config.json. The name of a decoder must say what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(_FORMS.get(family)).save(str(folder / "tokenizer.json"))
    documents: dict[str, object] = {
        "config.json": {
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "pad_token_id": 1,
            **CONFIGS[family],
            "max_position_embeddings": POSITIONS + (2 if family == "xlm-roberta" else 0),
            "vocab_size": len(_WORDS),
            "architectures": [_CLASSES[family]],
            **({} if family == "qwen3" else {"id2label": {"0": "LABEL_0"}}),
            **(config or {}),
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": POSITIONS,
            "pad_token": "<pad>",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        },
    }
    for name, value in documents.items():
        (folder / name).write_text(json.dumps(value))
    tensors = random_tensors(_all_shapes(family), np.random.default_rng(seed))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def _all_shapes(family: str) -> Shapes:
    """Return the shapes of an encoder that has more tokens and positions, and those of its head."""
    positions = POSITIONS + (2 if family == "xlm-roberta" else 0)
    rows = {"word_embeddings": len(_WORDS), "tok_embeddings": len(_WORDS), "embed_tokens": len(_WORDS)}
    rows["position_embeddings"] = positions
    found: Shapes = {}
    for name, shape in shapes(family).items():
        count = rows.get(name.rpartition(".")[0].rpartition(".")[2], shape[0])
        found[f"{_PREFIXES[family]}{name}"] = (count, *shape[1:])
    return found | _HEADS[family]


def _tokenizer(form: str | None) -> tokenizers.Tokenizer:
    """Return a tokenizer of bytes, with a token for each answer; ``form`` joins pairs."""
    made = tokenizers.Tokenizer(
        models.BPE({word: number for number, word in enumerate(_WORDS)}, _MERGES, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(_SPECIAL))
    if form is not None:
        special = [("<s>", 0), ("</s>", 2)]
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair=form, special_tokens=special)
    return made
