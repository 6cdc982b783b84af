"""Starter models: real models that a package index carries."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Starter:
    """A model in a file of a Python package, pinned by its hash."""

    name: str
    """What the workspace is called."""
    package: str
    version: str
    wheel_bytes: int
    member: str
    """The file inside of the wheel."""
    size_bytes: int
    sha256: str
    origin: str
    """The model on the Hub that it was made from."""
    generation_defaults: Mapping[str, float] = attrs.field(factory=dict, hash=False)
    """How it answers best, in the words of generation_config.json."""

    @property
    def requirement(self) -> str:
        """The package as an installer is asked for it."""
        return f"{self.package}=={self.version}"
