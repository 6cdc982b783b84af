"""Starter models: models that are downloaded from a package index."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain import reprs


@attrs.frozen
class Starter:
    """A model file in a Python package, pinned by its hash."""

    name: str
    """The name of the workspace."""
    package: str
    version: str
    wheel_bytes: int = attrs.field(repr=False)
    member: str = attrs.field(repr=False)
    """The path of the model file in the wheel."""
    size_bytes: int = attrs.field(repr=False)
    sha256: str = attrs.field(repr=False)
    origin: str = attrs.field(repr=False)
    """The model on the Hub that it was converted from."""
    generation_config: Mapping[str, float] = attrs.field(factory=dict, hash=False, repr=False)
    """Sampling parameters for its generation_config.json."""

    __repr__ = reprs.fields

    @property
    def requirement(self) -> str:
        """The requirement in pip's syntax."""
        return f"{self.package}=={self.version}"
