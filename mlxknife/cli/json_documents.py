"""The JSON contract (specification 1.0.0) as types: the data of every ``--json`` document.

The order of the fields is their order in the document. A field that is ``UNSET`` is left out; all others are present.
``docs/json-api.schema.json`` is generated from these types, with their docstrings as descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

JSON_API_SPEC_VERSION = "1.0.0"


class SystemObject(Struct, frozen=True):
    """The machine that runs the program."""

    memory_total_bytes: int


class QuantizationObject(Struct, frozen=True):
    """The MLX quantisation of the weights."""

    bits: int
    group_size: int
    mode: str


class ModelObject(Struct, frozen=True):
    """One model, with the same fields in every document."""

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
    display_name: str | UnsetType = UNSET
    """The name of the folder of a workspace."""
    proof: Literal["manifest", "files"] | UnsetType = UNSET
    """What ``verified`` proves; absent for another integrity."""


class TrashObject(Struct, frozen=True):
    """An interrupted removal, whose files are still on disk."""

    name: str
    size_bytes: int


class ListData(Struct, frozen=True):
    """``data`` of ``list``. ``trash`` is present if it is not empty."""

    models: tuple[ModelObject, ...]
    count: int
    system: SystemObject | None
    trash: tuple[TrashObject, ...] | UnsetType = UNSET


class MetadataObject(Struct, frozen=True):
    """The shape of a model, from its config.json."""

    model_type: str | None
    quantization: str | None
    context_length: int | None
    vocab_size: int | None
    hidden_size: int | None
    num_attention_heads: int | None
    num_hidden_layers: int | None
    architecture: str | None
    """The first of ``architectures``."""


class FileObject(Struct, frozen=True):
    """One file of a model."""

    name: str
    size: str
    type: str
    size_bytes: int
    integrity: Literal["verified", "structural", "incomplete", "corrupt"] | UnsetType = UNSET


class ShowData(Struct, frozen=True, kw_only=True):
    """``data`` of ``show``. ``files`` and ``config`` are present if requested; ``metadata`` is null then."""

    model: ModelObject
    files: tuple[FileObject, ...] | UnsetType = UNSET
    config: Mapping[str, Any] | UnsetType = UNSET
    metadata: MetadataObject | None


class HealthObject(Struct, frozen=True):
    """The health of one model."""

    name: str
    status: Literal["healthy", "unhealthy"]
    reason: str
    integrity: Literal["verified", "structural", "incomplete", "corrupt"]
    managed: bool | UnsetType = UNSET
    """Of a workspace: whether mlxk made it."""
    proof: Literal["manifest", "files"] | UnsetType = UNSET
    """What ``verified`` proves; absent for another integrity."""


class HealthSummary(Struct, frozen=True):
    """The number of models checked."""

    total: int
    healthy_count: int
    unhealthy_count: int


class HealthData(Struct, frozen=True):
    """``data`` of ``health``."""

    healthy: tuple[HealthObject, ...]
    unhealthy: tuple[HealthObject, ...]
    summary: HealthSummary


class VersionData(Struct, frozen=True):
    """``data`` of ``version``."""

    cli_version: str
    json_api_spec_version: str
    system: SystemObject | None


class RemovedObject(Struct, frozen=True):
    """One item that was removed, or would be."""

    name: str
    revision: str | None
    size_bytes: int


class RmData(Struct, frozen=True, kw_only=True):
    """``data`` of ``rm``."""

    model: str | None
    """The full name of the model; the words as typed where they select several; null with ``--orphans``."""
    action: Literal["deleted", "would_delete", "kept"]
    message: str
    commit_hash: str | None = None
    """The commit of ``MODEL@REVISION``."""
    lock_files_cleaned: Literal[0] = 0
    """Lock files stay, as huggingface_hub leaves them."""
    removed: tuple[RemovedObject, ...]
    freed_bytes: int


class LockedRmData(Struct, frozen=True):
    """``data`` of ``rm`` when another process holds a lock on the model."""

    model: str | None
    locks_detected: bool
    lock_files: tuple[str, ...]
    removed: tuple[RemovedObject, ...] | UnsetType = UNSET
    """What was removed before, where several models were named."""


class AmbiguousRmData(Struct, frozen=True):
    """``data`` of ``rm`` when several models match the name."""

    matches: tuple[str, ...]


class FailedRmData(Struct, frozen=True):
    """``data`` of ``rm`` when the filesystem fails."""

    model: str | None
    removed: tuple[RemovedObject, ...] | UnsetType = UNSET
    """What was removed before, where several models were named."""


class PulledFile(Struct, frozen=True):
    """One file of a model, and what ``pull`` does with it."""

    name: str
    size_bytes: int
    action: Literal["keep", "fetch", "repair"]


class PullData(Struct, frozen=True, kw_only=True):
    """``data`` of ``pull``. An error has the first four fields only."""

    model: str | None
    download_status: Literal["success", "already_exists", "would_download", "failed", "error", "unknown"]
    message: str
    expanded_name: str | None
    revision: str | UnsetType = UNSET
    total_bytes: int | UnsetType = UNSET
    bytes_to_fetch: int | UnsetType = UNSET
    files: tuple[PulledFile, ...] | UnsetType = UNSET


class ServerData(Struct, frozen=True):
    """``data`` of ``serve``, printed when it listens."""

    url: str
    model: str | None
    """The first model that was named at the start."""
    pid: int


class SettingObject(Struct, frozen=True):
    """One setting: its value, with stars for a secret, and the source of the value."""

    key: str
    value: str | int | float | bool | tuple[str, ...] | None
    source: Literal["variable", "file", "default"]
    variable: str | None
    default: str | int | float | bool | tuple[str, ...] | None


class ConfigData(Struct, frozen=True):
    """``data`` of ``config``. ``changed`` is present after a change; ``settings`` has all, or the one that was set."""

    path: str
    exists: bool
    action: Literal["show", "path", "edit", "set", "unset"]
    changed: bool | UnsetType = UNSET
    settings: tuple[SettingObject, ...] | UnsetType = UNSET


class ErrorObject(Struct, frozen=True):
    """The error of a command that failed."""

    type: str
    message: str
    matches: tuple[str, ...] | UnsetType = UNSET
    available_hashes: tuple[str, ...] | UnsetType = UNSET
    suggestions: tuple[str, ...] | UnsetType = UNSET
    hint: str | UnsetType = UNSET


class Envelope(Struct, frozen=True):
    """The envelope of every document."""

    status: Literal["success", "error"]
    command: str | None
    data: object
    error: ErrorObject | None
