"""Whether MLX computes on a GPU, found out without loading MLX."""

from __future__ import annotations

import os
import sys

_CUDA_BACKENDS = ("mlx-cuda-13", "mlx-cuda-12", "mlx-cuda")


def has_gpu() -> bool:
    """Return whether MLX computes on a GPU: on Apple Silicon, and where its CUDA backend is installed."""
    if sys.platform == "darwin":
        return os.uname().machine == "arm64"
    return any(map(_is_installed, _CUDA_BACKENDS))


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - most commands do not need it

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
