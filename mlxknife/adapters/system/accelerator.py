"""Whether there is a GPU, as far as that can be told without loading what would use it."""

from __future__ import annotations

import os
import sys

_FOR_CUDA = ("mlx-cuda-13", "mlx-cuda-12", "mlx-cuda")


def has_gpu() -> bool:
    """Tell whether MLX is likely to compute on a GPU: on Apple Silicon, and where its CUDA backend is installed."""
    if sys.platform == "darwin":
        return os.uname().machine == "arm64"
    return any(map(_is_installed, _FOR_CUDA))


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - most commands never ask

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
