"""The chat format of a model: its template, and the tokens that end a turn."""

from __future__ import annotations

import json
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.chat_format import chat_template, ends_of_turn, tool_parser
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.domain.catalog.rules import capabilities
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import FinishReason, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    Message,
    SamplingParameters,
)
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.snapshot import Location
from tests.engine_answers import answered, numbered_call_ids

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
    "Text after the end of the turn.",
)
"""Each token follows the one before it. A marker that occurs twice is part of a longer token the second time."""


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model in the format of gpt-oss that answers every prompt with the script."""
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    folder = tmp_path_factory.mktemp("channels")
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokens = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(sorted(letters))}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in _CHANNELS])
    tokens.add_tokens([AddedToken(text, normalized=False) for text in _SCRIPT if text not in _CHANNELS])
    tokens.save(str(folder / "tokenizer.json"))
    size = 288  # of the vocabulary, and of the embedding, which is one-hot
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


def test_the_answer_of_gpt_oss_follows_its_reasoning(channels: Path) -> None:
    loaded = LoadRequest(Location(str(channels), ()), "as-is")
    with closing(
        TextEngine(MlxTextLoader().load(loaded), JinjaTemplates(), loaded, numbered_call_ids(), time.monotonic)
    ) as engine:
        options = GenerationOptions(SamplingParameters(temperature=0.0), max_tokens=50)
        output = answered(engine, GenerationRequest((Message("user", "Hello!"),), options=options))
    assert output.text(kind=TextKind.REASONING) == "They greet me."
    assert (output.text(), output.finish_reason()) == ("Hello there.", FinishReason.STOP)


def test_the_end_of_a_message_is_no_end_of_a_turn() -> None:
    oss = {name: number for number, name in enumerate(_CHANNELS)}
    used = {oss[name] for name in ("<|return|>", "<|call|>")}
    assert ends_of_turn(oss, _TEMPLATE + "<|return|><|call|>", [oss["<|return|>"]]) == used
    assert ends_of_turn(oss, _TEMPLATE, [oss["<|end|>"]]) == {oss["<|end|>"]}  # the model declares it


def test_where_a_turn_has_one_message_its_end_is_the_end_of_the_turn() -> None:
    phi = {"<|user|>": 0, "<|assistant|>": 1, "<|end|>": 2, "<|endoftext|>": 3}
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
    assert ends_of_turn(phi, template, [3]) == {2, 3}
    assert ends_of_turn(phi, "{{ messages }}", [3]) == {3}


_NAMED = [{"name": "default", "template": "{{ a }}"}, {"name": "tool_use", "template": "{{ b }}"}]
_JSON = {"tokenizer_config.json": "{{ a }}", "processor_config.json": "{{ b }}", "chat_template.json": "{{ c }}"}


@pytest.mark.parametrize(
    ("files", "home", "template"),
    [
        ({}, None, None),
        ({"tokenizer_config.json": "{{ a }}"}, "tokenizer_config.json", "{{ a }}"),
        ({"tokenizer_config.json": {"default": "{{ a }}"}}, "tokenizer_config.json", "{{ a }}"),
        ({"tokenizer_config.json": _NAMED}, "tokenizer_config.json", "{{ a }}"),
        ({"tokenizer_config.json": _NAMED[1:]}, None, None),
        ({"tokenizer_config.json": {"tool_use": "{{ b }}"}}, None, None),
        ({"tokenizer_config.json": {"default": 7}}, None, None),
        ({"tokenizer_config.json": [7, None]}, None, None),
        ({"tokenizer_config.json": ""}, None, None),
        ({"tokenizer_config.json": 7}, None, None),
        (_JSON, "chat_template.json", "{{ c }}"),
        (_JSON | {"chat_template.json": None}, "processor_config.json", "{{ b }}"),
        (_JSON | {"chat_template.jinja": "{{ d }}"}, "chat_template.jinja", "{{ d }}"),
        (_JSON | {"chat_template.jinja": ""}, "chat_template.json", "{{ c }}"),
        ({"additional_chat_templates/default.jinja": "{{ e }}"}, "additional_chat_templates/default.jinja", "{{ e }}"),
        ({"additional_chat_templates/tool_use.jinja": "{{ e }}"}, None, None),
        (
            {"additional_chat_templates/tool_use.jinja": "{{ e }}", "chat_template.jinja": "{{ d }}"},
            "chat_template.jinja",
            "{{ d }}",
        ),
    ],
)
def test_the_catalog_and_the_engine_find_the_chat_template_in_the_same_home(
    tmp_path: Path, files: dict[str, object], home: str | None, template: str | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = json.dumps({"chat_template": content}) if name.endswith(".json") else str(content)
        (tmp_path / name).write_text(text, encoding="utf-8")
    facts = FolderReader().read(Location(str(tmp_path), (str(tmp_path),)), filenames.READING_LIST)
    assert capabilities.chat_template_source(facts) == home
    assert chat_template(tmp_path) == template


@pytest.mark.parametrize("content", ["{", "[]", "{}", "", "[" * 2000 + "]" * 2000], ids=lambda text: text[:10])
def test_a_file_that_is_no_config_holds_no_template(tmp_path: Path, content: str) -> None:
    (tmp_path / "chat_template.json").write_text(content, encoding="utf-8")
    assert chat_template(tmp_path) is None


@pytest.mark.parametrize(
    ("config", "declared"),
    [({}, None), ({"tool_parser_type": "mistral"}, "mistral"), ({"tool_parser_type": ["os"]}, ["os"]), ([], None)],
)
def test_the_declared_tool_parser_is_read_as_it_is(tmp_path: Path, config: object, declared: object) -> None:
    assert tool_parser(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert tool_parser(tmp_path) == declared
