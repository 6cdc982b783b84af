"""Models that are whole although they look unusual, and some that look usual and are not."""

from __future__ import annotations

import pytest

from mlxknife import Integrity, ModelInfo
from tests.adapters.stage import Stage
from tests.builder import (
    TOKENIZER,
    Files,
    chat_files,
    embedding_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    safetensors,
    sharded_files,
    speech_files,
    vision_files,
)

SENTENCEPIECE = b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02"


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def judged(stage: Stage, files: Files, name: str = "org/model") -> ModelInfo:
    stage.model(files, name=name)
    return stage.only()


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"tokenizer.model": SENTENCEPIECE},
        {"spiece.model": SENTENCEPIECE},
        {"sentencepiece.bpe.model": SENTENCEPIECE},
        {"vocab.json": b'{"a": 0}', "merges.txt": b"#version: 0.2\n"},
        {"qwen.tiktoken": b"IQ== 0\n"},
        {"tekken.json": b'{"vocab": []}'},
        {"tokenizer.json": TOKENIZER},
    ],
    ids="+".join,
)
def test_every_form_of_tokenizer_counts(stage: Stage, tokenizer: Files) -> None:
    assert judged(stage, without(chat_files(), "tokenizer.json") | tokenizer).integrity is Integrity.STRUCTURAL


@pytest.mark.parametrize("half", [{"vocab.json": b'{"a": 0}'}, {"merges.txt": b"#version: 0.2\n"}])
def test_half_a_tokenizer_is_none(stage: Stage, half: Files) -> None:
    model = judged(stage, without(chat_files(), "tokenizer.json") | half)
    assert (model.integrity, model.reason) == (Integrity.INCOMPLETE, "tokenizer missing")


def test_a_repo_of_gguf_files_needs_no_config_and_no_tokenizer(stage: Stage) -> None:
    model = judged(stage, gguf_files() | {"README.md": b"# GGUF\n"})
    assert model.integrity is Integrity.STRUCTURAL
    assert model.traits.framework.value == "GGUF"
    assert (model.runtime_compatible, model.reason) == (
        False,
        "Framework GGUF not executable with mlx-lm (requires MLX)",
    )


def test_an_empty_gguf_file_is_no_model(stage: Stage) -> None:
    model = judged(stage, {"tiny.gguf": b""})
    assert (model.integrity, model.reason) == (Integrity.CORRUPT, "empty weight file: tiny.gguf")


def test_a_repo_of_pytorch_weights_is_healthy_and_does_not_run(stage: Stage) -> None:
    model = judged(stage, pytorch_files())
    assert model.integrity is Integrity.STRUCTURAL
    assert model.traits.framework.value == "PyTorch"
    assert model.reason == "Framework PyTorch not executable with mlx-lm (requires MLX)"


def test_safetensors_without_a_marker_are_pytorch(stage: Stage) -> None:
    assert judged(stage, chat_files(quantized=False)).traits.framework.value == "PyTorch"


@pytest.mark.parametrize(
    "files",
    [
        chat_files(quantized=False, quantization={"bits": 4, "group_size": 64}),
        chat_files(quantized=False, quantization_config={"bits": 4, "group_size": 64}),
        chat_files(quantized=False) | {"model.safetensors": safetensors(metadata={"format": "mlx"})},
        chat_files(quantized=False) | {"README.md": b"---\nlibrary_name: mlx\n---\n"},
        chat_files(quantized=False) | {"README.md": b"---\ntags:\n- text\n- mlx\n---\n"},
        chat_files(quantized=False) | {"README.md": b"---\ntags: [text, mlx]\n---\n"},
    ],
    ids=["quantization", "quantization_config", "header", "library_name", "tag", "tag in a row"],
)
def test_every_marker_makes_a_model_mlx(stage: Stage, files: Files) -> None:
    model = judged(stage, files)
    assert (model.traits.framework.value, model.integrity) == ("MLX", Integrity.STRUCTURAL)


def test_the_owner_alone_makes_a_model_mlx(stage: Stage) -> None:
    assert judged(stage, chat_files(quantized=False), "mlx-community/plain").traits.framework.value == "MLX"


@pytest.mark.parametrize(
    "other",
    [{"bits": 4, "group_size": 128, "quant_method": "gptq"}, {"quant_method": "bitsandbytes", "load_in_4bit": True}],
    ids=["gptq", "bitsandbytes"],
)
def test_a_quantization_of_other_tools_is_no_marker(stage: Stage, other: dict[str, object]) -> None:
    model = judged(stage, chat_files(quantized=False, quantization_config=other))
    assert (model.traits.framework.value, model.traits.quantization) == ("PyTorch", None)


def test_an_unquantised_mlx_model_without_a_card_runs(stage: Stage) -> None:
    files = chat_files(quantized=False) | {"model.safetensors": safetensors(metadata={"format": "mlx"})}
    model = judged(stage, without(files, "README.md"))
    assert (model.traits.framework.value, model.runtime_compatible, model.reason) == ("MLX", True, None)


def test_one_weight_file_needs_no_index(stage: Stage) -> None:
    assert "model.safetensors.index.json" not in chat_files()
    assert judged(stage, chat_files()).integrity is Integrity.STRUCTURAL


def test_shards_need_no_index_when_none_is_missing(stage: Stage) -> None:
    assert judged(stage, without(sharded_files(), "model.safetensors.index.json")).integrity is Integrity.STRUCTURAL


@pytest.mark.parametrize(
    "name",
    ["partial-notes.md", "partial.safetensors", "model-partial.safetensors", "partial/extra.json", "my.partial.txt"],
)
def test_a_file_with_partial_in_its_name_is_like_any_other(stage: Stage, name: str) -> None:
    data = safetensors() if name.endswith(".safetensors") else b"{}"
    assert judged(stage, chat_files() | {name: data}).integrity is Integrity.STRUCTURAL


@pytest.mark.parametrize("suffix", [".partial", ".tmp", ".incomplete"])
def test_weights_that_were_never_finished_are_named(stage: Stage, suffix: str) -> None:
    name = f"model.safetensors{suffix}"
    model = judged(stage, chat_files() | {name: safetensors()})
    assert (model.integrity, model.reason) == (Integrity.INCOMPLETE, f"download not finished: {name}")


def test_an_embedding_model_needs_no_marker(stage: Stage) -> None:
    model = judged(stage, embedding_files(), "org/sentence-model")
    assert model.integrity is Integrity.STRUCTURAL
    assert [one.value for one in model.traits.capabilities] == ["embeddings"]
    assert (model.traits.model_type.value, model.traits.context_length) == ("embedding", 256)


def test_a_vision_model(stage: Stage) -> None:
    model = judged(stage, vision_files())
    assert [one.value for one in model.traits.capabilities] == ["text-generation", "chat", "vision"]
    assert model.integrity is Integrity.STRUCTURAL


def test_a_speech_model_needs_no_tokenizer(stage: Stage) -> None:
    model = judged(stage, speech_files(), "mlx-community/whisper-tiny")
    assert (model.integrity, model.traits.model_type.value) == (Integrity.STRUCTURAL, "audio")
    assert not model.runtime_compatible


@pytest.mark.parametrize(
    ("home", "files"),
    [
        ("chat_template.jinja", {"chat_template.jinja": b"{{ x }}", "tokenizer_config.json": b"{}"}),
        ("chat_template.json", {"chat_template.json": b'{"chat_template": "x"}', "tokenizer_config.json": b"{}"}),
        ("tokenizer_config.json", {"tokenizer_config.json": b'{"chat_template": "x"}'}),
    ],
)
def test_a_chat_template_is_found_in_each_of_its_homes(stage: Stage, home: str, files: Files) -> None:
    assert judged(stage, chat_files() | files, "org/plain").traits.model_type.value == "chat"
    assert stage.app().catalog.show("org/plain").chat_template_source == home


def test_a_model_without_template_and_chat_name_is_a_base_model(stage: Stage) -> None:
    model = judged(stage, chat_files() | {"tokenizer_config.json": b"{}"}, "org/plain")
    assert [one.value for one in model.traits.capabilities] == ["text-generation"]
    assert model.traits.model_type.value == "base"


def test_code_that_a_model_does_not_need_changes_nothing(stage: Stage) -> None:
    auto_map = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}
    model = judged(stage, chat_files(model_type="phi3", auto_map=auto_map))
    assert (model.integrity, model.runtime_compatible, model.reason) == (Integrity.STRUCTURAL, True, None)


def test_code_that_a_model_needs_is_named(stage: Stage) -> None:
    model = judged(stage, chat_files(model_type="own", model_file="model.py") | {"model.py": b"..."})
    assert (model.integrity, model.runtime_compatible) == (Integrity.STRUCTURAL, False)
    assert model.reason == "Needs code of its repo (config.json: model_file), which runs only with --allow-remote-code"


def test_an_unknown_architecture_is_named(stage: Stage) -> None:
    model = judged(stage, chat_files(model_type="architecture_of_tomorrow"))
    assert (model.integrity, model.runtime_compatible) == (Integrity.STRUCTURAL, False)
    assert "architecture_of_tomorrow" in (model.reason or "")


def test_a_renamed_architecture_is_known(stage: Stage) -> None:
    model = judged(stage, chat_files(model_type="mistral", architectures=["MistralForCausalLM"]))
    assert (model.runtime_compatible, model.reason) == (True, None)


def test_quantization_and_context_are_told(stage: Stage) -> None:
    files = chat_files(quantization={"bits": 8, "group_size": 32, "mode": "mxfp8"}, max_position_embeddings=8192)
    traits = judged(stage, files).traits
    assert traits.quantization is not None
    assert (traits.quantization.bits, traits.quantization.group_size, traits.quantization.mode) == (8, 32, "mxfp8")
    assert traits.context_length == 8192


def test_an_index_may_name_weights_below_a_folder(stage: Stage) -> None:
    index = {"weight_map": {"w": "part.safetensors"}}
    files = chat_files() | {
        "sub/model.safetensors.index.json": json_bytes(index),
        "sub/part.safetensors": safetensors(),
    }
    assert judged(stage, files).integrity is Integrity.STRUCTURAL
