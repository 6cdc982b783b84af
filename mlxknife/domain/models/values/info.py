"""Models as the catalog describes them: what they are and what they can do."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain.models.values.snapshot import JsonObject
from mlxknife.domain.models.values.verdict import Integrity


class Framework(Enum):
    """Whose file format a model is in."""

    MLX = "MLX"
    GGUF = "GGUF"
    PYTORCH = "PyTorch"
    UNKNOWN = "Unknown"


class ModelType(Enum):
    """What a model is for."""

    CHAT = "chat"
    BASE = "base"
    EMBEDDING = "embedding"
    AUDIO = "audio"
    UNKNOWN = "unknown"


class Capability(Enum):
    """One thing that a model can do, in the order in which the contract lists them."""

    TEXT_GENERATION = "text-generation"
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    VISION = "vision"
    AUDIO = "audio"


@attrs.frozen
class Quantization:
    """How MLX quantised the weights."""

    bits: int
    group_size: int
    mode: str = "affine"


@attrs.frozen
class ModelCard:
    """What the front matter of a model card says, as far as the catalog asks."""

    made_for: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    base_models: tuple[str, ...] = ()


@attrs.frozen
class ModelTraits:
    """What a model is, read from its files first and from its name last."""

    framework: Framework
    model_type: ModelType
    capabilities: tuple[Capability, ...]
    quantization: Quantization | None
    context_length: int | None


@attrs.frozen
class ModelInfo:
    """The model object of the contract: everything that ``list`` tells of one model."""

    name: str
    commit: str | None
    size_bytes: int
    modified: float
    traits: ModelTraits
    integrity: Integrity
    runtime_compatible: bool
    reason: str | None
    cached: bool
    origin: str | None


@attrs.frozen
class ModelFile:
    """One file of a model as ``show --files`` lists it."""

    name: str
    size_bytes: int
    kind: str
    integrity: Integrity | None = None
    """What hashing told, where it was asked for."""


@attrs.frozen
class ModelMetadata:
    """What a config says about the shape of a model."""

    model_type: str | None
    quantization: str | None
    context_length: int | None
    vocab_size: int | None
    hidden_size: int | None
    num_attention_heads: int | None
    num_hidden_layers: int | None


@attrs.frozen
class ModelDetails:
    """Everything that ``show`` tells of one model."""

    info: ModelInfo
    metadata: ModelMetadata
    config: JsonObject
    files: tuple[ModelFile, ...]
    card: ModelCard
    chat_template_source: str | None
    """The file that the chat template stands in."""
    unverified_reason: str | None = None
    """What verifying could not prove, where nothing is wrong."""
