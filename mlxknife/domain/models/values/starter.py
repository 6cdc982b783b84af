"""Starter models: models that are downloaded from a package index."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Starter:
    """A model file in a Python package, pinned by its hash."""

    name: str
    """The name of the workspace."""
    package: str
    version: str
    wheel_bytes: int
    member: str
    """The path of the model file in the wheel."""
    size_bytes: int
    sha256: str
    origin: str
    """The model on the Hub that it was converted from."""
    generation_config: Mapping[str, float] = attrs.field(factory=dict, hash=False)
    """Sampling parameters for its generation_config.json."""

    @property
    def requirement(self) -> str:
        """The requirement in pip's syntax."""
        return f"{self.package}=={self.version}"
