"""Taking in models from other formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Importer(Protocol):
    """Turns a model of another format into files that MLX runs."""

    def import_gguf(self, source: str, destination: str, generation_config: Mapping[str, float] = ...) -> None:
        """Write the model of a GGUF file into an empty folder, in the format of mlx-lm; weights stay as they are.

        ``generation_config`` goes into its generation_config.json: GGUF has no place for sampling parameters.

        Raises ValidationError for a file that is damaged, or holds what cannot be mapped, and StorageError or
        AccessDenied when the filesystem refuses. Then the folder holds nothing of use.
        """
        ...
