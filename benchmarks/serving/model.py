"""The toy model of all servers: a small Llama with random weights that generates only words and never ends.

It measures the cost of everything around a model. The weights are float32, which a CPU computes without emulation. All
tokens but the words, also the end-of-turn tokens, have rows of zeros in the embedding, which is also the output head:
their logits are 0, and some word always has a positive logit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

NAME = "mlx-community/Tiny-Random-Llama-float32"
CONTEXT = 16_384
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_BYTES = 256
_VOCABULARY = 4096
_SPACE = "\u0120"
"""The byte-level BPE character for a space."""
_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def config() -> dict[str, Any]:
    """Return the config of the model, with the sizes of the model in batching.py."""
    end = _VOCABULARY - 1
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "eos_token_id": end,
        "pad_token_id": end - 2,
    }


def words() -> list[str]:
    """Return the words that are one token with the space before them."""
    pairs = [first + second for first in _LETTERS for second in _LETTERS]
    triples = [pair + third for pair in pairs for third in _LETTERS]
    count = _VOCABULARY - _BYTES - len(_SPECIAL_TOKENS)
    return [*_LETTERS, *pairs, *triples][:count]


def text_of(random: Random, count: int) -> str:
    """Return a text of ``count`` tokens."""
    return "".join(f" {word}" for word in random.choices(words(), k=count))


def write_model(hub: Path) -> Path:
    """Write the model into a cache in the layout of huggingface_hub and return its folder."""
    folder = make_snapshot(hub, NAME, _COMMIT)
    (folder / "config.json").write_text(json.dumps(config(), indent=2))
    (folder / "README.md").write_text("---\nlibrary_name: mlx\npipeline_tag: text-generation\ntags:\n- mlx\n---\n")
    _write_tokenizer(folder)
    _write_weights(folder)
    return folder


def make_snapshot(hub: Path, name: str, commit: str) -> Path:
    """Create and return the folder of a model's only commit, which is its main branch."""
    repo = hub / f"models--{name.replace('/', '--')}"
    folder = repo / "snapshots" / commit
    folder.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - after the BLAS

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [f"{_SPACE}{word}" for word in words()]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate([*letters, *tokens])},
            merges=[(token[:-1], token[-1]) for token in tokens],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL_TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": _SPECIAL_TOKENS[2],
        "pad_token": _SPECIAL_TOKENS[0],
        "additional_special_tokens": list(_SPECIAL_TOKENS[1:]),
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": _TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)


def _write_weights(folder: Path) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx.utils import tree_flatten  # noqa: PLC0415
    from mlx_lm.models.llama import Model, ModelArgs  # noqa: PLC0415

    if sys.platform == "linux":
        mx.set_default_device(mx.Device(mx.cpu))
    mx.random.seed(1)
    model: Any = Model(ModelArgs.from_dict(config()))  # type: ignore[no-untyped-call] # mlx-lm's own
    table = model.model.embed_tokens
    number = mx.arange(_VOCABULARY)
    is_word = (number >= _BYTES) & (number < _VOCABULARY - len(_SPECIAL_TOKENS))
    table.weight = mx.where(is_word[:, None], table.weight, mx.zeros_like(table.weight))
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
