"""Configs: the facts that a config.json declares about a model."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.snapshot import JsonObject, SnapshotFacts

_SPEECH_TYPES = frozenset(
    "whisper wav2vec2 hubert moonshine parakeet speecht5 seamless_m4t seamless_m4t_v2 vits bark musicgen kokoro csm "
    "encodec wavlm unispeech clap speech_to_text canary dia wav2vec2-bert qwen3_asr snac".split()
)
_SPEECH_FAMILY = re.compile(r"whisper|voxtral|vibevoice", re.IGNORECASE)
"""Families with several types, such as ``voxtral_realtime`` and ``vibevoice_asr``."""
_SPEECH_NAME = re.compile(r"(?:^|[-_./])(?:whisper|parakeet|kokoro|snac|asr|tts)(?:$|[-_.])", re.IGNORECASE)
_VISION_ONLY_TYPES = frozenset(
    "vit deit beit swin swinv2 convnext dinov2 dinov2_with_registers dinov3_vit depth_pro depth_anything sam sam2 sam3 "
    "resnet yolos detr rt_detr segformer".split()
)
_AUDIO_INPUT_TYPES = frozenset("qwen2_audio qwen2_5_omni qwen3_omni_moe ultravox granite_speech phi4mm".split())
_IMAGE_INPUT_TYPES = frozenset(
    "llava llava_next llava_onevision mllama idefics2 idefics3 smolvlm paligemma pixtral internvl_chat molmo molmo2 "
    "florence2 qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe deepseek_vl_v2 kimi_vl fastvlm moondream2 phi3_v aya_vision "
    "glm4v glm4v_moe minicpmv minicpmo siglip clip".split()
)
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")
_LABELS = 2
_NEMO_SPEECH = "nemo.collections.asr"


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
    """Return the first positive integer under any of the keys, at the top level or in the config of the text part."""
    for part in (config, *(config.get(key) for key in _TEXT_CONFIGS)):
        if isinstance(part, Mapping):
            for key in keys:
                value = positive_int(part.get(key))
                if value is not None:
                    return value
    return None


def label_count(config: JsonObject) -> int:
    """Return the number of labels of a classifier; without a declaration transformers takes two."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    return positive_int(config.get("num_labels")) or _LABELS


def positive_int(value: object) -> int | None:
    """Return a JSON value if it is a positive integer, which ``true`` is not."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def takes_images(facts: SnapshotFacts) -> bool:
    """Return whether a model takes images."""
    config = facts.json_object(filenames.CONFIG)
    kind = architecture(config)
    if has_part(config, "vision_config") or kind in _IMAGE_INPUT_TYPES:
        return True
    processor = facts.json_object("preprocessor_config.json")
    is_audio_processor = "feature_extractor_type" in processor and "image_processor_type" not in processor
    return "preprocessor_config.json" in facts.names() and not is_audio_processor and not takes_audio(config)


def needs_image_processor(facts: SnapshotFacts) -> bool:
    """Return whether a model needs a processor config; a conversion to text only has no ``vision_config``."""
    return has_part(facts.json_object(filenames.CONFIG), "vision_config")


def has_part(config: JsonObject, part: str) -> bool:
    """Return whether a config describes a part of a model, at the top level or in its ``thinker_config``.

    An empty object describes nothing: conversions to text only leave one behind.
    """
    parents = (parent for parent in (config, config.get("thinker_config")) if isinstance(parent, Mapping))
    return any(isinstance(described := parent.get(part), Mapping) and bool(described) for parent in parents)


def is_speech(name: str, config: JsonObject) -> bool:
    """Return whether a model is a speech model: by its config, and by its name where the config declares nothing."""
    kind = architecture(config)
    if kind is not None:
        return is_speech_type(kind)
    target = config.get("target")
    by_target = isinstance(target, str) and target.startswith(_NEMO_SPEECH)
    return by_target or (bool(config) and not class_names(config) and _SPEECH_NAME.search(name) is not None)


def is_speech_type(kind: str) -> bool:
    """Return whether an architecture is one of a speech model."""
    return kind in _SPEECH_TYPES or _SPEECH_FAMILY.match(kind) is not None


def takes_audio(config: JsonObject) -> bool:
    """Return whether a model takes audio."""
    kind = architecture(config)
    if has_part(config, "audio_config") or kind in _AUDIO_INPUT_TYPES:
        return True
    return kind is not None and is_speech_type(kind)


def needs_tokenizer(name: str, facts: SnapshotFacts) -> bool:
    """Return whether a model needs tokenizer files; speech, vision-only and byte-level models do not."""
    config = facts.json_object(filenames.CONFIG)
    return not is_speech(name, config) and not is_vision_only(config) and not _is_byte_level(facts)


def tokenizer_name(declared: str) -> str:
    """Return a tokenizer class without the ``Fast`` that older configs append."""
    return declared.removesuffix("Fast")


def is_vision_only(config: JsonObject) -> bool:
    """Return whether a model takes images and generates no text."""
    return architecture(config) in _VISION_ONLY_TYPES


def _is_byte_level(facts: SnapshotFacts) -> bool:
    """Return whether the tokenizer is code without a vocabulary file, as for ByT5."""
    return str(facts.json_object(filenames.TOKENIZER_CONFIG).get("tokenizer_class", "")).startswith("ByT5")
