from __future__ import annotations

import pytest

from mlxknife.domain.catalog.rules import capabilities
from mlxknife.domain.models.values.info import Capability, Framework, ModelCard, ModelType, Quantization
from tests.builder import (
    Files,
    chat_files,
    embedding_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    safetensors,
    speech_files,
    vision_files,
)
from tests.unit.facts import facts_of, traits_of, with_config, without

_PLAIN = chat_files(quantized=False)
_CARD = b"---\nlibrary_name: mlx\n---\n"
_TAG = b"---\ntags:\n- text\n- mlx\n---\n"
_MLX_HEAD = {"model.safetensors": safetensors(metadata={"format": "mlx"})}
_NO_TEMPLATE = without(_PLAIN, "tokenizer_config.json")


@pytest.mark.parametrize(
    ("files", "name", "expected"),
    [
        pytest.param(chat_files(), "org/name", Framework.MLX, id="quantised as MLX does"),
        pytest.param(_PLAIN | {"README.md": _CARD}, "org/name", Framework.MLX, id="library of the card"),
        pytest.param(_PLAIN | {"README.md": _TAG}, "org/name", Framework.MLX, id="tag of the card"),
        pytest.param(_PLAIN | _MLX_HEAD, "org/name", Framework.MLX, id="format in a header"),
        pytest.param(_PLAIN, "mlx-community/name", Framework.MLX, id="owner"),
        pytest.param(gguf_files() | {"README.md": _CARD}, "org/name", Framework.MLX, id="a marker before GGUF"),
        pytest.param(gguf_files(), "org/name", Framework.GGUF, id="GGUF"),
        pytest.param(_PLAIN | gguf_files(), "org/name", Framework.GGUF, id="GGUF before safetensors"),
        pytest.param(_PLAIN, "org/name", Framework.PYTORCH, id="safetensors"),
        pytest.param(_PLAIN, "org/mlx-community", Framework.PYTORCH, id="only the owner counts"),
        pytest.param(pytorch_files(), "org/name", Framework.PYTORCH, id="pickles"),
        pytest.param(speech_files(), "org/name", Framework.UNKNOWN, id="something else"),
        pytest.param({}, "org/name", Framework.UNKNOWN, id="nothing"),
    ],
)
def test_the_first_marker_decides_the_framework(files: Files, name: str, expected: Framework) -> None:
    assert traits_of(files, name).framework is expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quantization": {"group_size": 64, "bits": 4}}, Quantization(4, 64)),
        ({"quantization_config": {"group_size": 32, "bits": 8, "mode": "mxfp8"}}, Quantization(8, 32, "mxfp8")),
        ({"quantization": {"group_size": 64, "bits": 4, "model.head": False}}, Quantization(4, 64)),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, None),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}, None),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, None),
        ({"quantization": {"bits": 4}}, None),
        ({"quantization": {"bits": True, "group_size": 64}}, None),
        ({"quantization": "4bit"}, None),
        ({}, None),
    ],
)
def test_only_the_format_of_mlx_is_a_quantization(config: dict[str, object], expected: Quantization | None) -> None:
    assert capabilities.quantization(config) == expected


_TEMPLATE = {"chat_template": "{{ x }}"}


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"chat_template.jinja": b"{{ x }}"}, "chat_template.jinja"),
        ({"chat_template.json": json_bytes(_TEMPLATE)}, "chat_template.json"),
        ({"tokenizer_config.json": json_bytes(_TEMPLATE)}, "tokenizer_config.json"),
        (
            {"tokenizer_config.json": json_bytes({"chat_template": [{"name": "default", "template": "x"}]})},
            "tokenizer_config.json",
        ),
        ({"tokenizer_config.json": json_bytes({"chat_template": ""})}, None),
        ({"tokenizer_config.json": b"{"}, None),
        ({"tokenizer_config.json": json_bytes(_TEMPLATE), "chat_template.jinja": b""}, "tokenizer_config.json"),
        ({"additional_chat_templates/default.jinja": b"x"}, "additional_chat_templates/default.jinja"),
        ({"additional_chat_templates/tool_use.jinja": b"x"}, None),
        ({}, None),
    ],
)
def test_a_chat_template_can_be_in_several_files(files: Files, source: str | None) -> None:
    facts = facts_of(_NO_TEMPLATE | files)
    assert capabilities.chat_template_source(facts) == source
    expected = ModelType.CHAT if source else ModelType.BASE
    assert capabilities.detect("org/name", facts, ModelCard()).model_type is expected


@pytest.mark.parametrize(
    ("files", "name", "model_type", "expected"),
    [
        pytest.param(chat_files(), "org/x", ModelType.CHAT, "text-generation chat", id="chat"),
        pytest.param(_NO_TEMPLATE, "org/x", ModelType.BASE, "text-generation", id="base"),
        pytest.param(_NO_TEMPLATE, "org/x-Instruct-4bit", ModelType.CHAT, "text-generation chat", id="instruct"),
        pytest.param(_NO_TEMPLATE, "org/gemma-2b-it", ModelType.CHAT, "text-generation chat", id="it"),
        pytest.param(_NO_TEMPLATE, "org/chatty-italian", ModelType.BASE, "text-generation", id="not quite a chat"),
        pytest.param(embedding_files(), "org/x", ModelType.EMBEDDING, "embeddings", id="encoder"),
        pytest.param(chat_files(), "org/Qwen3-Embedding-0.6B", ModelType.EMBEDDING, "embeddings", id="by name"),
        pytest.param(
            chat_files() | {"1_Pooling/config.json": b"{}"}, "org/x", ModelType.EMBEDDING, "embeddings", id="pooling"
        ),
        pytest.param(vision_files(), "org/x", ModelType.CHAT, "text-generation chat vision", id="vision"),
        pytest.param(
            chat_files(model_type="gemma3n", vision_config={"a": 1}, audio_config={"a": 1}),
            "org/x",
            ModelType.CHAT,
            "text-generation chat vision audio",
            id="vision and audio",
        ),
        pytest.param(speech_files(), "org/x", ModelType.AUDIO, "audio", id="speech"),
        pytest.param(chat_files(model_type="whisper"), "org/x-chat", ModelType.AUDIO, "audio", id="speech first"),
        pytest.param(gguf_files(), "org/x", ModelType.UNKNOWN, "", id="GGUF"),
        pytest.param(gguf_files(), "org/x-chat-GGUF", ModelType.CHAT, "text-generation chat", id="GGUF chat"),
        pytest.param(gguf_files(), "org/x-embed-GGUF", ModelType.EMBEDDING, "embeddings", id="GGUF embedding"),
        pytest.param(with_config(model_type="vit"), "org/x-chat", ModelType.UNKNOWN, "", id="it only looks"),
        pytest.param(with_config(n_mels=80), "org/whisper-tiny", ModelType.AUDIO, "audio", id="speech by name"),
        pytest.param(without(_PLAIN, "config.json"), "org/x-chat", ModelType.UNKNOWN, "", id="no config"),
        pytest.param(
            without(with_config(architectures=["X"]), "tokenizer_config.json"), "o/x", ModelType.UNKNOWN, "", id="odd"
        ),
    ],
)
def test_type_and_capabilities_of_a_model(files: Files, name: str, model_type: ModelType, expected: str) -> None:
    traits = traits_of(files, name)
    assert traits.model_type is model_type
    assert traits.capabilities == tuple(map(Capability, expected.split()))


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        ({"id2label": {"0": "LABEL_0"}}, "org/x", ModelType.RERANKER),
        ({"num_labels": 1}, "org/x-embed", ModelType.RERANKER),
        ({"id2label": {"0": "no", "1": "yes"}}, "org/x-reranker", ModelType.UNKNOWN),
        ({}, "org/x-reranker", ModelType.UNKNOWN),
        ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, "org/Qwen3-Reranker", ModelType.RERANKER),
        ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, "org/prerank", ModelType.BASE),
    ],
)
def test_a_reranker_has_one_label_or_the_name(config: dict[str, object], name: str, expected: ModelType) -> None:
    declared = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **config}
    files = without(with_config(**declared), "tokenizer_config.json")
    traits = traits_of(files, name)
    assert traits.model_type is expected
    assert (Capability.RERANKING in traits.capabilities) is (expected is ModelType.RERANKER)


def test_a_classifier_is_not_an_embedding_model() -> None:
    files = without(
        with_config(model_type="bert", architectures=["BertForSequenceClassification"]), "tokenizer_config.json"
    )
    assert traits_of(files).model_type is ModelType.UNKNOWN


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (chat_files(), 2048),
        (embedding_files(), 256),
        (with_config(n_positions=1024), 1024),
        (with_config(text_config={"max_position_embeddings": 8192}), 8192),
        (with_config(model_type="llama"), None),
    ],
)
def test_the_context_length_comes_from_a_config(files: Files, expected: int | None) -> None:
    assert traits_of(files).context_length == expected


@pytest.mark.parametrize(
    ("files", "expected"), [(chat_files(), False), (_PLAIN, True), (_PLAIN | _MLX_HEAD, False), ({}, True)]
)
def test_the_card_is_only_read_where_the_files_do_not_show_the_framework(files: Files, *, expected: bool) -> None:
    assert capabilities.needs_card("org/name", facts_of(files)) is expected
