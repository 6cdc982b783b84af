"""The JSON contract (specification 1.0.0) as types: what every ``--json`` answer is made of.

Field order is the order in the document. ``UNSET`` fields are left out; all others are always there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
from msgspec import UNSET, Struct, UnsetType

if TYPE_CHECKING:
    from mlxknife.domain.integrity.values import HealthReport, ModelHealth
    from mlxknife.domain.models.values.info import ModelInfo, ModelMetadata, Quantization

JSON_API_SPEC_VERSION = "1.0.0"

_YEAR_1000 = -30_610_224_000
_YEAR_9999 = 253_402_300_799


class QuantizationObject(Struct, frozen=True):
    """How MLX quantised the weights."""

    bits: int
    group_size: int
    mode: str


class ModelObject(Struct, frozen=True):
    """One model, the same in every answer that has one."""

    name: str
    hash: str | None
    size_bytes: int
    last_modified: str
    framework: Literal["MLX", "GGUF", "PyTorch", "Unknown"]
    model_type: str
    capabilities: tuple[str, ...]
    health: Literal["healthy", "unhealthy"]
    runtime_compatible: bool
    reason: str | None
    cached: bool
    integrity: Literal["verified", "structural", "incomplete", "corrupt"]
    quantization: QuantizationObject | None
    context_length: int | None
    origin: str | None


class TrashObject(Struct, frozen=True):
    """A removal that was interrupted: its bytes are still on the disk."""

    name: str
    size_bytes: int


class ListData(Struct, frozen=True):
    """``data`` of ``list``. ``trash`` is there when something is in it."""

    models: tuple[ModelObject, ...]
    count: int
    trash: tuple[TrashObject, ...] | UnsetType = UNSET


class MetadataObject(Struct, frozen=True):
    """What the config says about a model's shape."""

    model_type: str | None
    quantization: str | None
    context_length: int | None
    vocab_size: int | None
    hidden_size: int | None
    num_attention_heads: int | None
    num_hidden_layers: int | None


class FileObject(Struct, frozen=True):
    """One file of a model."""

    name: str
    size: str
    type: str
    size_bytes: int
    integrity: Literal["verified", "structural", "incomplete", "corrupt"] | UnsetType = UNSET


class ShowData(Struct, frozen=True, kw_only=True):
    """``data`` of ``show``. ``files`` and ``config`` are there when they were asked for; then ``metadata`` is null."""

    model: ModelObject
    files: tuple[FileObject, ...] | UnsetType = UNSET
    config: Mapping[str, Any] | UnsetType = UNSET
    metadata: MetadataObject | None


class HealthObject(Struct, frozen=True):
    """The verdict on one model."""

    name: str
    status: Literal["healthy", "unhealthy"]
    reason: str
    integrity: Literal["verified", "structural", "incomplete", "corrupt"]


class HealthSummary(Struct, frozen=True):
    """How many are what."""

    total: int
    healthy_count: int
    unhealthy_count: int


class HealthData(Struct, frozen=True):
    """``data`` of ``health``."""

    healthy: tuple[HealthObject, ...]
    unhealthy: tuple[HealthObject, ...]
    summary: HealthSummary


class SystemObject(Struct, frozen=True):
    """The machine."""

    memory_total_bytes: int


class VersionData(Struct, frozen=True):
    """``data`` of ``version``."""

    cli_version: str
    json_api_spec_version: str
    system: SystemObject | None


class ErrorObject(Struct, frozen=True):
    """Why a command failed."""

    type: str
    message: str
    matches: tuple[str, ...] | UnsetType = UNSET
    available_hashes: tuple[str, ...] | UnsetType = UNSET
    suggestions: tuple[str, ...] | UnsetType = UNSET
    hint: str | UnsetType = UNSET


class Envelope(Struct, frozen=True):
    """What every answer is wrapped in."""

    status: Literal["success", "error"]
    command: str | None
    data: object
    error: ErrorObject | None


def model_object(info: ModelInfo) -> ModelObject:
    """Describe a model as the contract does."""
    traits = info.traits
    return ModelObject(
        name=info.name,
        hash=info.commit,
        size_bytes=info.size_bytes,
        last_modified=utc(info.modified),
        framework=traits.framework.value,
        model_type=traits.model_type.value,
        capabilities=tuple(capability.value for capability in traits.capabilities),
        health="healthy" if info.integrity.healthy else "unhealthy",
        runtime_compatible=info.runtime_compatible,
        reason=info.reason,
        cached=info.cached,
        integrity=info.integrity.value,
        quantization=_quantization_object(traits.quantization),
        context_length=traits.context_length,
        origin=info.origin,
    )


def metadata_object(metadata: ModelMetadata) -> MetadataObject:
    """Describe the shape of a model as the contract does."""
    return MetadataObject(**attrs.asdict(metadata))


def health_data(report: HealthReport) -> HealthData:
    """Describe a health report as the contract does."""
    healthy, unhealthy = report.healthy(), report.unhealthy()
    return HealthData(
        healthy=tuple(map(_health_object, healthy)),
        unhealthy=tuple(map(_health_object, unhealthy)),
        summary=HealthSummary(
            total=len(report.entries),
            healthy_count=len(healthy),
            unhealthy_count=len(unhealthy),
        ),
    )


def utc(timestamp: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second; a disk can hold dates that no calendar has."""
    within = min(max(timestamp, _YEAR_1000), _YEAR_9999)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(within))


def _quantization_object(found: Quantization | None) -> QuantizationObject | None:
    return None if found is None else QuantizationObject(bits=found.bits, group_size=found.group_size, mode=found.mode)


def _health_object(entry: ModelHealth) -> HealthObject:
    return HealthObject(
        name=entry.name,
        status="healthy" if entry.integrity.healthy else "unhealthy",
        reason=entry.reason or "Model is healthy",
        integrity=entry.integrity.value,
    )
