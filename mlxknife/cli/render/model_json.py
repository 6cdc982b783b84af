"""The JSON objects of models and of health reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
from msgspec import UNSET

from mlxknife.cli.json_documents import (
    HealthData,
    HealthObject,
    HealthSummary,
    MetadataObject,
    ModelObject,
    QuantizationObject,
    SystemObject,
)
from mlxknife.domain.names.rules import naming

if TYPE_CHECKING:
    from mlxknife.domain.integrity.values import HealthReport, ModelHealth
    from mlxknife.domain.models.values.info import ModelInfo, ModelMetadata, Quantization

_YEAR_1000 = -30_610_224_000
_YEAR_9999 = 253_402_300_799


def model_object(info: ModelInfo) -> ModelObject:
    """Return the JSON object of a model."""
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
        display_name=UNSET if info.cached else naming.last_part(info.name),
        proof=UNSET if info.proof is None else info.proof.value,
    )


def metadata_object(metadata: ModelMetadata) -> MetadataObject:
    """Return the JSON object of a model's shape."""
    return MetadataObject(**attrs.asdict(metadata))


def health_data(report: HealthReport) -> HealthData:
    """Return the JSON data of a health report."""
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


def system_object(memory_total_bytes: int | None) -> SystemObject | None:
    """Return the JSON object of the machine; None if its memory is unknown."""
    return None if memory_total_bytes is None else SystemObject(memory_total_bytes=memory_total_bytes)


def utc(timestamp: float) -> str:
    """Return a timestamp as ISO 8601 in UTC, to the second, within the years 1000 to 9999."""
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
        managed=UNSET if entry.is_managed is None else entry.is_managed,
        proof=UNSET if entry.proof is None else entry.proof.value,
    )
