"""What is installed to run models with."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class RuntimePackage:
    """A package of model architectures, as its source on disk declares them."""

    name: str
    version: str
    architectures: frozenset[str]
    remapping: Mapping[str, str] = attrs.field(factory=dict)
    """Other names that the package accepts for an architecture."""
    class_remapping: Mapping[tuple[str, str], str] = attrs.field(factory=dict)
    """(model type, class name) pairs that the package sends to another architecture."""
    encoders: frozenset[str] = frozenset()
    """The architectures that give embeddings."""
    embedding_remapping: Mapping[str, str] = attrs.field(factory=dict)
    """The architecture that serves a model type when it is used as an encoder."""


@attrs.frozen
class Runtime:
    """The installed MLX packages; None for one that is not installed."""

    backend: bool
    """Whether MLX has a library to compute with on this machine."""
    mlx_lm: RuntimePackage | None = None
    mlx_vlm: RuntimePackage | None = None


@attrs.frozen
class RuntimeVerdict:
    """Whether the installed runtime can execute a model, and if not, why not."""

    compatible: bool
    reason: str | None = None
