"""The installed packages that can run models, and the verdict on one model."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class RuntimePackage:
    """A package of model architectures, read from its source files."""

    name: str
    version: str
    architectures: frozenset[str]
    remapping: Mapping[str, str] = attrs.field(factory=dict)
    """Alternative names that the package maps to an architecture."""
    class_remapping: Mapping[tuple[str, str], str] = attrs.field(factory=dict)
    """(model type, class name) pairs that the package maps to another architecture."""


@attrs.frozen
class Runtime:
    """The installed MLX packages; None for one that is missing."""

    backend: bool
    """Whether an MLX backend is installed for this machine."""
    mlx_lm: RuntimePackage | None = None
    mlx_vlm: RuntimePackage | None = None
    tokenizers: Mapping[str, str] = attrs.field(factory=dict)
    """The tokenizer class that transformers uses for each model type."""


@attrs.frozen
class RemoteCode:
    """Code of a model repo that a model cannot be loaded without."""

    key: str
    """The config key that names it, as ``file: key``."""
    file: str
    """The Python file."""
    is_architecture: bool
    """Whether it is the architecture; else it is the tokenizer."""


@attrs.frozen
class RuntimeVerdict:
    """Whether the installed packages can run a model, and if not, the reason."""

    compatible: bool
    reason: str | None = None
