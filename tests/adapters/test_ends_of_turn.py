"""Where a turn ends: what the tokens of a family mean depends on what stands beside them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import mlxknife
from mlxknife.adapters.mlx.text.tokenizer import ends_of_turn
from mlxknife.domain.generation.values.generation import FinishReason, Wish

pytestmark = pytest.mark.timeout(1200)

_CHANNELS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")
_TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
)
_SCRIPT = (
    "assistant",
    "<|channel|>",
    "analysis",
    "<|message|>",
    "They greet me.",
    "<|end|>",
    "<|start|>assistant<|channel|>final<|message|>",
    "Hello there.",
    "<|return|>",
    "What nobody shall see.",
)
"""What follows what; a mark that comes twice is part of another token, for nothing but the last token decides."""


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model in the manner of gpt-oss that says the script, whatever it is asked."""
    folder = tmp_path_factory.mktemp("channels")
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokens = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(sorted(letters))}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in _CHANNELS])
    tokens.add_tokens([AddedToken(text, normalized=False) for text in _SCRIPT if text not in _CHANNELS])
    tokens.save(str(folder / "tokenizer.json"))
    size = 288  # of the vocabulary and of a token's vector, which is nothing but its number
    follows = mx.zeros((size, size))
    for one, following in pairwise(_SCRIPT):
        follows[tokens.token_to_id(following), tokens.token_to_id(one)] = 100
    layer = {f"self_attn.{name}_proj": (32, size) for name in "qkv"} | {"self_attn.o_proj": (size, 32)}
    layer |= {"mlp.gate_proj": (8, size), "mlp.up_proj": (8, size), "mlp.down_proj": (size, 8)}
    weights = {f"model.layers.0.{name}.weight": mx.zeros(shape) for name, shape in layer.items()}
    for name in ("model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"):
        weights[f"{name}.weight"] = mx.ones((size,))
    weights |= {"model.embed_tokens.weight": mx.eye(size), "lm_head.weight": follows}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size,
        "intermediate_size": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 8,
        "num_hidden_layers": 1,
        "vocab_size": size,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "eos_token_id": tokens.token_to_id("<|return|>"),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "generation_config.json").write_text('{"do_sample": false}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|return|>"}), encoding="utf-8"
    )
    (folder / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")
    return folder


def test_after_the_reasoning_of_gpt_oss_comes_its_answer(channels: Path) -> None:
    with mlxknife.open_app().chat.open(str(channels)) as session:
        told = session.ask("Hello!", Wish(max_tokens=50))
    assert (told.reasoning, told.answer, told.finish_reason) == ("They greet me.", "Hello there.", FinishReason.STOP)


def test_the_end_of_a_message_is_no_end_of_a_turn() -> None:
    oss = {mark: number for number, mark in enumerate(_CHANNELS)}
    used = {oss[mark] for mark in ("<|return|>", "<|call|>")}
    assert ends_of_turn(oss, _TEMPLATE + "<|return|><|call|>", [oss["<|return|>"]]) == used
    assert ends_of_turn(oss, _TEMPLATE, [oss["<|end|>"]]) == {oss["<|end|>"]}  # what a model declares is its own affair


def test_where_a_turn_has_one_message_its_end_is_the_end_of_the_turn() -> None:
    phi = {"<|user|>": 0, "<|assistant|>": 1, "<|end|>": 2, "<|endoftext|>": 3}
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    assert ends_of_turn(phi, template, [3]) == {2, 3}
    assert ends_of_turn(phi, "{{ messages }}", [3]) == {3}
