from __future__ import annotations

import pytest

from mlxknife.domain.rules import configs
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
        ({"model_type": "x", "vision_config": {}}, True, False, True),
        ({"model_type": "x", "vision_config": None}, False, False, True),
        ({"model_type": "qwen2_vl"}, True, False, True),
        ({"model_type": "gemma3n", "vision_config": {"a": 1}, "audio_config": {"b": 1}}, True, True, True),
        ({"model_type": "whisper"}, False, True, False),
        ({"model_type": "voxtral"}, False, True, True),
        ({}, False, False, True),
    ],
)
def test_a_config_tells_the_senses(config: dict[str, object], *, sees: bool, hears: bool, speaks: bool) -> None:
    facts = facts_of(with_config(**config))
    assert configs.sees_images(facts) is sees
    assert configs.hears_sound(config) is hears
    assert configs.speaks_text(facts) is speaks


@pytest.mark.parametrize(("model_type", "expected"), [("llama", True), ("whisper", False), ("qwen2_audio", False)])
def test_a_preprocessor_is_one_of_images_unless_the_model_hears(model_type: str, *, expected: bool) -> None:
    files = chat_files(model_type=model_type) | {"preprocessor_config.json": json_bytes({"a": 1})}
    assert configs.sees_images(facts_of(files)) is expected
