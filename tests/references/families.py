"""Tiny models of every family of encoders, with random weights and a tokenizer of bytes.

This module needs numpy, tokenizers and safetensors only: ``make_vectors.py`` imports it beside torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers, processors

WIDTH, INNER, HEADS, KV_HEADS, HEAD_SIZE, LAYERS, POSITIONS, WINDOW = 16, 24, 4, 2, 6, 3, 96, 8
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = len(_SPECIAL) + len(_BYTES)
_ST = "sentence_transformers.models"

Shapes = dict[str, tuple[int, ...]]

_SHARED: dict[str, object] = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    "vocab_size": VOCABULARY,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "cls_token_id": 0,
    "sep_token_id": 2,
}
_DECODER: dict[str, object] = {"num_key_value_heads": KV_HEADS, "head_dim": HEAD_SIZE, "rms_norm_eps": 1e-6}
CONFIGS: dict[str, dict[str, object]] = {
    "bert": {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "type_vocab_size": 2},
    "xlm-roberta": {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "type_vocab_size": 1,
        "max_position_embeddings": POSITIONS + 2,
        "layer_norm_eps": 1e-5,
    },
    "modernbert": {
        "model_type": "modernbert",
        "architectures": ["ModernBertModel"],
        "local_attention": 2 * WINDOW,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
    },
    "qwen3": {
        **_DECODER,
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_act": "silu",
        "rope_theta": 1000000,
        "tie_word_embeddings": True,
    },
    "gemma3": {
        **_DECODER,
        "model_type": "gemma3_text",
        "architectures": ["Gemma3TextModel"],
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": HEAD_SIZE,
        "rope_local_base_freq": 10000.0,
        "rope_theta": 1000000.0,
        "sliding_window": 2 * WINDOW,
        "sliding_window_pattern": 2,
        "use_bidirectional_attention": True,
    },
}
_POOLING = {"bert": "mean_tokens", "xlm-roberta": "cls_token", "modernbert": "mean_tokens", "qwen3": "lasttoken"}
_DENSE = {"gemma3": ((WIDTH, INNER), (INNER, WIDTH))}
_FORMS = {"qwen3": "$A </s>"}
FAMILIES = tuple(CONFIGS)


def write_family(folder: Path, family: str, *, config: Mapping[str, object] | None = None, seed: int = 7) -> Path:
    """Write a model; ``config`` overrides values of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(_FORMS.get(family, "<s> $A </s>")).save(str(folder / "tokenizer.json"))
    chance = np.random.default_rng(seed)
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{_ST}.Transformer"}]
    modules += [{"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{_ST}.Pooling"}]
    pooling = {"word_embedding_dimension": WIDTH, f"pooling_mode_{_POOLING.get(family, 'mean_tokens')}": True}
    documents: dict[str, object] = {
        "config.json": {**_SHARED, **CONFIGS[family], **(config or {})},
        "tokenizer_config.json": _TOKENIZER_CONFIG,
        "sentence_bert_config.json": {"max_seq_length": POSITIONS, "do_lower_case": False},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": False, **pooling},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": "title: "}},
    }
    for number, (inputs, outputs) in enumerate(_DENSE.get(family, ())):
        path = f"{2 + number}_Dense"
        modules.append({"idx": 2 + number, "name": str(2 + number), "path": path, "type": f"{_ST}.Dense"})
        activation = "torch.nn.modules.linear.Identity"
        settings = {"in_features": inputs, "out_features": outputs, "bias": False, "activation_function": activation}
        documents[f"{path}/config.json"] = settings
    modules.append({"idx": len(modules), "name": "n", "path": f"{len(modules)}_Normalize", "type": f"{_ST}.Normalize"})
    documents["modules.json"] = modules
    for name, value in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    (folder / f"{len(modules) - 1}_Normalize").mkdir(exist_ok=True)
    for number, (inputs, outputs) in enumerate(_DENSE.get(family, ())):
        linear = random_tensors({"linear.weight": (outputs, inputs)}, chance)
        save_file(linear, folder / f"{2 + number}_Dense" / "model.safetensors")
    save_file(random_tensors(shapes(family), chance), folder / "model.safetensors", {"format": "pt"})
    return folder


def random_tensors(
    shapes_: Shapes, chance: np.random.Generator
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return tensors with random values, large enough that every part of a network counts."""
    return {name: chance.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes_.items()}


def shapes(family: str) -> Shapes:
    """Return the name and the shape of every tensor of a family."""
    if family in ("bert", "xlm-roberta"):
        return _bert(CONFIGS[family])
    return _modernbert() if family == "modernbert" else _decoder(is_gemma=family == "gemma3")


def _bert(config: Mapping[str, object]) -> Shapes:
    positions, types = config.get("max_position_embeddings", POSITIONS), config["type_vocab_size"]
    assert isinstance(positions, int)
    assert isinstance(types, int)
    found: Shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (positions, WIDTH),
        "embeddings.token_type_embeddings.weight": (types, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for number in range(LAYERS):
        root = f"encoder.layer.{number}"
        dense = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (WIDTH, WIDTH)}
        dense |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
        for name, shape in dense.items():
            found |= {f"{root}.{name}.weight": shape, f"{root}.{name}.bias": shape[:1]}
        norms += [f"{root}.attention.output.LayerNorm", f"{root}.output.LayerNorm"]
    for name in norms:
        found |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return found


def _modernbert() -> Shapes:
    found: Shapes = {"embeddings.tok_embeddings.weight": (VOCABULARY, WIDTH)}
    found |= {"embeddings.norm.weight": (WIDTH,), "final_norm.weight": (WIDTH,)}
    for number in range(LAYERS):
        root = f"layers.{number}"
        found |= {f"{root}.attn.Wqkv.weight": (3 * WIDTH, WIDTH), f"{root}.attn.Wo.weight": (WIDTH, WIDTH)}
        found |= {f"{root}.mlp.Wi.weight": (2 * INNER, WIDTH), f"{root}.mlp.Wo.weight": (WIDTH, INNER)}
        found |= {f"{root}.mlp_norm.weight": (WIDTH,)} | ({f"{root}.attn_norm.weight": (WIDTH,)} if number else {})
    return found


def _decoder(*, is_gemma: bool) -> Shapes:
    prefix = "" if is_gemma else "model."
    found: Shapes = {f"{prefix}embed_tokens.weight": (VOCABULARY, WIDTH), f"{prefix}norm.weight": (WIDTH,)}
    wide, narrow = HEADS * HEAD_SIZE, KV_HEADS * HEAD_SIZE
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if is_gemma else []
    for number in range(LAYERS):
        root = f"{prefix}layers.{number}"
        for part, shape in (("q", (wide, WIDTH)), ("k", (narrow, WIDTH)), ("v", (narrow, WIDTH)), ("o", (WIDTH, wide))):
            found[f"{root}.self_attn.{part}_proj.weight"] = shape
        for part in ("q", "k"):
            found[f"{root}.self_attn.{part}_norm.weight"] = (HEAD_SIZE,)
        for part, shape in (("gate", (INNER, WIDTH)), ("up", (INNER, WIDTH)), ("down", (WIDTH, INNER))):
            found[f"{root}.mlp.{part}_proj.weight"] = shape
        found |= {f"{root}.{norm}.weight": (WIDTH,) for norm in norms}
    return found


_TOKENIZER_CONFIG: dict[str, object] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": POSITIONS,
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
}


def _tokenizer(form: str) -> tokenizers.Tokenizer:
    """Return a tokenizer whose tokens are bytes, so that no two texts become the same tokens."""
    words = {token: number for number, token in enumerate((*_SPECIAL, *_BYTES))}
    made = tokenizers.Tokenizer(models.BPE(words, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(_SPECIAL))
    made.post_processor = processors.TemplateProcessing(single=form, special_tokens=[("<s>", 0), ("</s>", 2)])
    return made
