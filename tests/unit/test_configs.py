from __future__ import annotations

import pytest

from mlxknife.domain.models.rules import configs
from tests.builder import chat_files, json_bytes
from tests.unit.facts import facts_of, with_config


@pytest.mark.parametrize(
    ("config", "architecture", "classes"),
    [
        ({"model_type": "llama", "architectures": ["A", "B"]}, "llama", ("A", "B")),
        ({"model_type": "", "architectures": "A"}, None, ("A",)),
        ({"model_type": 1, "architectures": [1, None, "A"]}, None, ("A",)),
        ({"architectures": None}, None, ()),
        ({}, None, ()),
    ],
)
def test_a_config_declares_its_architecture(
    config: dict[str, object], architecture: str | None, classes: tuple[str, ...]
) -> None:
    assert (configs.architecture(config), configs.class_names(config)) == (architecture, classes)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"n": 3}, 3),
        ({"n": 0, "m": 4}, 4),
        ({"n": -1}, None),
        ({"n": True}, None),
        ({"n": 3.0}, None),
        ({"n": "3"}, None),
        ({"n": None, "text_config": {"n": 5}}, 5),
        ({"n": 3, "text_config": {"n": 5}}, 3),
        ({"llm_config": {"m": 6}}, 6),
        ({"thinker_config": {"n": 9}}, 9),
        ({"text_config": [7]}, None),
        ({"vision_config": {"n": 8}}, None),
    ],
)
def test_a_count_is_the_first_positive_integer(config: dict[str, object], expected: int | None) -> None:
    assert configs.count(config, "n", "m") == expected


@pytest.mark.parametrize(
    ("config", "sees", "hears", "speaks"),
    [
        ({"model_type": "llama"}, False, False, True),
        ({"model_type": "x", "vision_config": {"depth": 2}}, True, False, True),
        ({"model_type": "x", "vision_config": {}}, False, False, True),
        ({"model_type": "x", "audio_config": {}}, False, False, True),
        ({"model_type": "x", "audio_config": {"depth": 2}}, False, True, True),
        ({"model_type": "x", "vision_config": None}, False, False, True),
        ({"model_type": "qwen2_vl"}, True, False, True),
        ({"model_type": "gemma3n", "vision_config": {"a": 1}, "audio_config": {"b": 1}}, True, True, True),
        ({"model_type": "whisper"}, False, True, False),
        ({"model_type": "Whisper"}, False, True, False),
        ({"model_type": "voxtral"}, False, True, False),
        ({"model_type": "voxtral_realtime", "audio_config": {"depth": 2}}, False, True, False),
        ({"model_type": "vibevoice_asr"}, False, True, False),
        ({"model_type": "qwen3_asr", "thinker_config": {"audio_config": {}}}, False, True, False),
        (
            {"model_type": "x", "thinker_config": {"vision_config": {"a": 1}, "audio_config": {"b": 1}}},
            True,
            True,
            True,
        ),
        ({"model_type": "x", "thinker_config": {"vision_config": {}, "audio_config": {}}}, False, False, True),
        ({"model_type": "x", "thinker_config": [{"vision_config": {}}]}, False, False, True),
        ({"model_type": "vit"}, False, False, False),
        ({}, False, False, True),
    ],
)
def test_a_config_shows_whether_a_model_takes_images_or_audio(
    config: dict[str, object], *, sees: bool, hears: bool, speaks: bool
) -> None:
    facts = facts_of(with_config(**config))
    assert configs.takes_images(facts) is sees
    assert configs.takes_audio(config) is hears
    assert configs.needs_tokenizer("org/name", facts) is speaks


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "qwen3_vl"}, False),
        ({"model_type": "qwen3_vl", "vision_config": None}, False),
        ({"model_type": "qwen3_vl", "vision_config": {}}, False),
        ({"model_type": "qwen3_vl", "vision_config": {"depth": 2}}, True),
        ({"model_type": "x", "thinker_config": {"vision_config": {"depth": 2}}}, True),
    ],
)
def test_only_a_vision_config_needs_a_processor(config: dict[str, object], *, expected: bool) -> None:
    assert configs.needs_image_processor(facts_of(with_config(**config))) is expected


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        ({"model_type": "whisper"}, "org/x", True),
        ({"model_type": "wav2vec2-bert"}, "org/x", True),
        ({"model_type": "llama"}, "org/whisper-tts-asr", False),
        ({"target": "nemo.collections.asr.models.EncDecRNNTBPEModel"}, "org/x", True),
        ({"target": "nemo.collections.nlp.models.Model"}, "org/x", False),
        ({"target": ["nemo.collections.asr"]}, "org/x", False),
        ({"n_mels": 80}, "mlx-community/whisper-large-v3-turbo", True),
        ({"istftnet": {}}, "mlx-community/Kokoro-82M-bf16", True),
        ({"n_mels": 80}, "org/whispering", False),
        ({"architectures": ["LlamaForCausalLM"]}, "org/llama-tts", False),
        ({}, "org/whisper-tiny", False),
    ],
)
def test_the_name_shows_a_speech_model_only_where_the_config_declares_nothing(
    config: dict[str, object], name: str, *, expected: bool
) -> None:
    assert configs.is_speech(name, config) is expected


@pytest.mark.parametrize(("kind", "expected"), [("ByT5Tokenizer", False), ("T5Tokenizer", True), (None, True)])
def test_a_byte_level_tokenizer_needs_no_files(kind: str | None, *, expected: bool) -> None:
    files = chat_files(model_type="t5") | {"tokenizer_config.json": json_bytes({"tokenizer_class": kind})}
    assert configs.needs_tokenizer("org/name", facts_of(files)) is expected


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, False),
        ({"image_processor_type": "CLIPImageProcessor"}, True),
        ({"feature_extractor_type": "X", "image_processor_type": "Y"}, True),
    ],
)
def test_a_preprocessor_that_only_extracts_features_is_for_audio(
    processor: dict[str, object], *, expected: bool
) -> None:
    files = chat_files() | {"preprocessor_config.json": json_bytes(processor)}
    assert configs.takes_images(facts_of(files)) is expected


@pytest.mark.parametrize(("model_type", "expected"), [("llama", True), ("whisper", False), ("qwen2_audio", False)])
def test_a_preprocessor_is_for_images_unless_the_model_takes_audio(model_type: str, *, expected: bool) -> None:
    files = chat_files(model_type=model_type) | {"preprocessor_config.json": json_bytes({"a": 1})}
    assert configs.takes_images(facts_of(files)) is expected
