"""Importing models from other formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Importer(Protocol):
    """Converts a model of another format into files that MLX loads."""

    def import_gguf(self, source: str, destination: str, generation_config: Mapping[str, float] = ...) -> None:
        """Write the model in the GGUF file ``source`` into the empty folder ``destination``, in mlx-lm's format.

        Quantised weights stay as they are. ``generation_config`` is added to generation_config.json, which GGUF has no
        place for. Raises ValidationError for a file that is damaged or cannot be mapped, StorageError, AccessDenied;
        then the folder holds no usable model.
        """
        ...
