"""Configs: what a config.json says about a model, whatever else it holds."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.domain.model.snapshot import JsonObject, SnapshotFacts
from mlxknife.domain.rules import filenames

SPEECH_TYPES = frozenset(
    "whisper wav2vec2 hubert moonshine parakeet speecht5 seamless_m4t seamless_m4t_v2 vits bark musicgen kokoro csm "
    "encodec wavlm unispeech clap speech_to_text canary dia".split()
)
_LISTENING_TYPES = frozenset("qwen2_audio qwen2_5_omni qwen3_omni_moe ultravox voxtral granite_speech phi4mm".split())
_SEEING_TYPES = frozenset(
    "llava llava_next llava_onevision mllama idefics2 idefics3 smolvlm paligemma pixtral internvl_chat molmo molmo2 "
    "florence2 qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe deepseek_vl_v2 kimi_vl fastvlm moondream2 phi3_v aya_vision "
    "glm4v glm4v_moe minicpmv minicpmo siglip clip".split()
)
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")


def architecture(config: JsonObject) -> str | None:
    """Return the ``model_type`` that a config declares."""
    declared = config.get("model_type")
    return declared if isinstance(declared, str) and declared else None


def class_names(config: JsonObject) -> tuple[str, ...]:
    """Return the class names that a config declares as its architectures."""
    declared = config.get("architectures")
    names = declared if isinstance(declared, list | tuple) else [declared]
    return tuple(name for name in names if isinstance(name, str))


def count(config: JsonObject, *keys: str) -> int | None:
    """Return the first positive integer under any of the keys, at the top or in the part that describes the text."""
    for part in (config, *(config.get(key) for key in _TEXT_CONFIGS)):
        if isinstance(part, Mapping):
            for key in keys:
                value = positive_int(part.get(key))
                if value is not None:
                    return value
    return None


def positive_int(value: object) -> int | None:
    """Return a JSON value if it is a positive integer; true is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def sees_images(facts: SnapshotFacts) -> bool:
    """Tell whether a model takes images, by its config."""
    config = facts.json_object(filenames.CONFIG)
    kind = architecture(config)
    if isinstance(config.get("vision_config"), Mapping) or kind in _SEEING_TYPES:
        return True
    has_processor = "preprocessor_config.json" in facts.names()
    return has_processor and not hears_sound(config)


def hears_sound(config: JsonObject) -> bool:
    """Tell whether a model takes sound, by its config."""
    kind = architecture(config)
    return isinstance(config.get("audio_config"), Mapping) or kind in SPEECH_TYPES or kind in _LISTENING_TYPES


def speaks_text(facts: SnapshotFacts) -> bool:
    """Tell whether a model cannot work without a tokenizer."""
    return architecture(facts.json_object(filenames.CONFIG)) not in SPEECH_TYPES
