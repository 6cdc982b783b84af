"""Untrained models of several families, as folders: each token depends on everything in the KV cache."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.model import MlxTextLoader, MlxTextModel
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.values.snapshot import Location

VOCABULARY_SIZE = 100
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
LLAMA = {**_COMMON, "model_type": "llama"}
GEMMA = {**_COMMON, "model_type": "gemma3_text", "sliding_window": 12, "sliding_window_pattern": 2}
MAMBA = {
    **_COMMON,
    "model_type": "mamba",
    "intermediate_size": 128,
    "state_size": 8,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
}


def write_model(folder: Path, config: dict[str, Any]) -> Location:
    """Write an untrained model; return its location."""
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx.utils import tree_flatten  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    family = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(1)
    weights = dict(tree_flatten(family.Model(family.ModelArgs.from_dict(config)).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    characters = {chr(0x4E00 + number): number for number in range(VOCABULARY_SIZE)}
    tokenizer = Tokenizer(models.BPE(vocab=characters, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    return Location(str(folder), (str(folder),))


def load_model(location: Location, draft: Location | None = None) -> MlxTextModel:
    return MlxTextLoader().load(LoadRequest(location, "as-is", 2**30, draft=draft))
