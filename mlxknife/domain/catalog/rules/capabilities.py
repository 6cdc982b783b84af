"""Capabilities: the format, type and capabilities of a model, from its files first and from its name last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values import chat_templates
from mlxknife.domain.models.values.chat_templates import ChatTemplateFiles
from mlxknife.domain.models.values.info import (
    Capability,
    Framework,
    ModelCard,
    ModelMetadata,
    ModelTraits,
    ModelType,
    Quantization,
)
from mlxknife.domain.models.values.snapshot import JsonObject, SnapshotFacts
from mlxknife.domain.names.rules import naming

_ENCODER_TYPES = frozenset(
    "bert roberta xlm-roberta xlm_roberta modernbert nomic_bert distilbert mpnet deberta deberta-v2 electra albert "
    "camembert jina_bert siglip siglip2 siglip_vision_model siglip2_vision_model clip clip_vision_model".split()
)
_CONTEXT_KEYS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx",
)  # fmt: skip
_EMBEDDING_NAME = re.compile(r"(?:^|[-_./])embed", re.IGNORECASE)
_RERANKER_NAME = re.compile(r"(?:^|[-_./])rerank", re.IGNORECASE)
_CHAT_NAME = re.compile(r"(?:^|[-_./])(?:instruct|chat|it)(?:$|[-_.])", re.IGNORECASE)


def needs_card(name: str, facts: SnapshotFacts) -> bool:
    """Return whether the model card must be read to find out if a model is in MLX's format."""
    return not _has_mlx_marker(name, facts)


def detect(name: str, facts: SnapshotFacts, card: ModelCard) -> ModelTraits:
    """Return the traits of a model; what its files do not show is unknown."""
    model_type = _model_type(name, facts)
    return ModelTraits(
        framework=_framework(name, facts, card),
        model_type=model_type,
        capabilities=tuple(_capabilities(model_type, facts)),
        quantization=quantization(facts.json_object(filenames.CONFIG)),
        context_length=context_length(facts),
    )


def _framework(name: str, facts: SnapshotFacts, card: ModelCard) -> Framework:
    if _has_mlx_marker(name, facts) or card.library_name == "mlx" or "mlx" in card.tags:
        return Framework.MLX
    names = facts.names()
    if any(file.endswith(filenames.GGUF) for file in names):
        return Framework.GGUF
    if any(file.endswith(filenames.SAFETENSORS) or filenames.is_torch_weight(file) for file in names):
        return Framework.PYTORCH
    return Framework.UNKNOWN


def _has_mlx_marker(name: str, facts: SnapshotFacts) -> bool:
    return (
        name.startswith(f"{naming.DEFAULT_OWNER}/")
        or quantization(facts.json_object(filenames.CONFIG)) is not None
        or any(head.metadata.get("format") == "mlx" for head in facts.weights.values())
    )


def quantization(config: JsonObject) -> Quantization | None:
    """Return the quantisation if it is in MLX's form; the ``quantization_config`` of other tools is not."""
    for key in ("quantization", "quantization_config"):
        found = config.get(key)
        if not isinstance(found, Mapping) or "quant_method" in found:
            continue
        bits, group_size, mode = (
            configs.positive_int(found.get("bits")),
            configs.positive_int(found.get("group_size")),
            found.get("mode", "affine"),
        )
        if bits and group_size and isinstance(mode, str):
            return Quantization(bits=bits, group_size=group_size, mode=mode)
    return None


def context_length(facts: SnapshotFacts) -> int | None:
    """Return the context window in tokens, where a config declares it."""
    sentence = configs.count(facts.json_object(filenames.SENTENCE), "max_seq_length")
    return sentence or configs.count(facts.json_object(filenames.CONFIG), *_CONTEXT_KEYS)


def chat_template_source(facts: SnapshotFacts) -> str | None:
    """Return the file that holds the template for chats."""
    texts = frozenset(file.name for file in facts.files if file.size and file.name in chat_templates.TEXT_HOMES)
    return ChatTemplateFiles(texts, {name: facts.json_object(name) for name in chat_templates.JSON_HOMES}).home


def _model_type(name: str, facts: SnapshotFacts) -> ModelType:
    config = facts.json_object(filenames.CONFIG)
    kind = configs.architecture(config)
    if configs.is_speech(name, config):
        return ModelType.AUDIO
    if not config:
        has_gguf = any(file.endswith(filenames.GGUF) for file in facts.names())
        return _type_by_name(name) if has_gguf else ModelType.UNKNOWN
    if configs.is_vision_only(config):
        return ModelType.UNKNOWN
    encodes = _encoder_type(name, kind, facts)
    if encodes is not None:
        return encodes
    if chat_template_source(facts) is not None or _CHAT_NAME.search(name):
        return ModelType.CHAT
    generates = any(
        known.endswith(("ForCausalLM", "ForConditionalGeneration")) for known in configs.class_names(config)
    )
    known = generates or (kind is not None and kind not in _ENCODER_TYPES)
    return ModelType.BASE if known else ModelType.UNKNOWN


def _type_by_name(name: str) -> ModelType:
    if _RERANKER_NAME.search(name):
        return ModelType.RERANKER
    if _EMBEDDING_NAME.search(name):
        return ModelType.EMBEDDING
    return ModelType.CHAT if _CHAT_NAME.search(name) else ModelType.UNKNOWN


def _encoder_type(name: str, kind: str | None, facts: SnapshotFacts) -> ModelType | None:
    if _is_reranker(name, kind, facts.json_object(filenames.CONFIG)):
        return ModelType.RERANKER
    return ModelType.EMBEDDING if _is_embedding(name, kind, facts) else None


def _is_reranker(name: str, kind: str | None, config: JsonObject) -> bool:
    """Return whether a model ranks documents: an encoder that classifies with one label, or a name that says so."""
    classifies = any(known.endswith("ForSequenceClassification") for known in configs.class_names(config))
    if classifies and kind in _ENCODER_TYPES:
        return configs.label_count(config) == 1
    return _RERANKER_NAME.search(name) is not None


def _is_embedding(name: str, kind: str | None, facts: SnapshotFacts) -> bool:
    if not facts.names().isdisjoint(filenames.POOLING_MARKERS):
        return True
    classes = configs.class_names(facts.json_object(filenames.CONFIG))
    classifies = any("Classification" in known or "QuestionAnswering" in known for known in classes)
    return not classifies and (kind in _ENCODER_TYPES or _EMBEDDING_NAME.search(name) is not None)


def _capabilities(model_type: ModelType, facts: SnapshotFacts) -> Iterator[Capability]:
    if model_type is ModelType.UNKNOWN:
        return
    if model_type is ModelType.EMBEDDING:
        yield Capability.EMBEDDINGS
    elif model_type is ModelType.RERANKER:
        yield Capability.RERANKING
    elif model_type is not ModelType.AUDIO:
        yield Capability.TEXT_GENERATION
        if model_type is ModelType.CHAT:
            yield Capability.CHAT
    if model_type is not ModelType.AUDIO and configs.takes_images(facts):
        yield Capability.VISION
    if model_type is ModelType.AUDIO or configs.takes_audio(facts.json_object(filenames.CONFIG)):
        yield Capability.AUDIO


def metadata(config: JsonObject, traits: ModelTraits) -> ModelMetadata:
    """Return the dimensions of a model under the names of the contract; older configs use other keys for some."""
    quantized = traits.quantization
    return ModelMetadata(
        model_type=configs.architecture(config),
        quantization=f"{quantized.bits}bit" if quantized else None,
        context_length=traits.context_length,
        vocab_size=configs.count(config, "vocab_size"),
        hidden_size=configs.count(config, "hidden_size", "n_embd", "d_model"),
        num_attention_heads=configs.count(config, "num_attention_heads", "n_head"),
        num_hidden_layers=configs.count(config, "num_hidden_layers", "n_layer"),
        architecture=next(iter(configs.class_names(config)), None),
    )
