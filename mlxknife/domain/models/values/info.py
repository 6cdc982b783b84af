"""Models as the catalog describes them: format, type, capabilities, files."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.models.values.snapshot import JsonObject
from mlxknife.domain.models.values.verdict import Integrity, Proof


class Framework(Enum):
    """The framework whose file format a model has."""

    MLX = "MLX"
    GGUF = "GGUF"
    PYTORCH = "PyTorch"
    UNKNOWN = "Unknown"


class ModelType(Enum):
    """What a model is for."""

    CHAT = "chat"
    BASE = "base"
    EMBEDDING = "embedding"
    RERANKER = "reranker"
    AUDIO = "audio"
    UNKNOWN = "unknown"


class Capability(Enum):
    """A capability of a model, in the order of the contract."""

    TEXT_GENERATION = "text-generation"
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RERANKING = "reranking"
    VISION = "vision"
    AUDIO = "audio"


@attrs.frozen
class Quantization:
    """The quantisation of the weights, in MLX's terms."""

    bits: int
    group_size: int
    mode: str = "affine"


@attrs.frozen
class ModelCard:
    """The front matter of a model card, as far as the catalog uses it."""

    library_name: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    base_models: tuple[str, ...] = ()

    __repr__ = reprs.fields


@attrs.frozen
class ModelTraits:
    """Format, type and capabilities of a model, taken from its files first and from its name last."""

    framework: Framework
    model_type: ModelType
    capabilities: tuple[Capability, ...]
    quantization: Quantization | None
    context_length: int | None

    __repr__ = reprs.fields


@attrs.frozen
class ModelInfo:
    """The model object of the contract: everything that ``list`` shows of a model."""

    name: str
    commit: str | None = attrs.field(repr=False)
    size_bytes: int
    modified: float = attrs.field(repr=False)
    traits: ModelTraits = attrs.field(repr=False)
    integrity: Integrity
    runtime_compatible: bool
    reason: str | None
    cached: bool = attrs.field(repr=False)
    origin: str | None = attrs.field(repr=False)
    is_unreadable: bool = attrs.field(default=False, repr=False)
    """Whether the folder of the model cannot be read, so that nothing is known about its content."""
    proof: Proof | None = attrs.field(default=None, repr=False)
    """What ``verified`` proves; None for another integrity."""

    __repr__ = reprs.fields


@attrs.frozen
class ModelFile:
    """One file of a model as ``show --files`` lists it."""

    name: str
    size_bytes: int
    kind: str
    integrity: Integrity | None = None
    """The result of hashing the file, where that was requested."""

    __repr__ = reprs.fields


@attrs.frozen
class ModelMetadata:
    """The dimensions of a model, from its config."""

    model_type: str | None
    quantization: str | None
    context_length: int | None
    vocab_size: int | None
    hidden_size: int | None
    num_attention_heads: int | None
    num_hidden_layers: int | None
    architecture: str | None = None
    """The first class name that the config declares."""


@attrs.frozen
class ModelDetails:
    """Everything that ``show`` shows of a model."""

    info: ModelInfo
    metadata: ModelMetadata = attrs.field(repr=False)
    config: JsonObject = attrs.field(repr=False)
    files: tuple[ModelFile, ...] = attrs.field(repr=False)
    card: ModelCard = attrs.field(repr=False)
    chat_template_source: str | None = attrs.field(repr=False)
    """The file that contains the chat template."""
    limit: str | None = attrs.field(default=None, repr=False)
    """Why hashing could not prove more, although it found no damage."""

    __repr__ = reprs.fields
