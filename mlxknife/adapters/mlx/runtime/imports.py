"""Importing MLX and mlx-lm, whatever limits the process has."""

from __future__ import annotations

import resource

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.domain.hints import HintCode

_FILES = 2048
"""The open files that a model with many shards needs while it is loaded."""


def import_mlx() -> None:
    """Import MLX and what loads models. Raises EngineError if the machine does not allow it.

    ``mlx_lm.utils`` sets the limit of open files to 2048 and 4096 when it is imported. That fails where the limit is
    lower, and lowers it where it is higher. So it sets nothing here, and the limit is raised as far as it can be.
    """
    with library_errors("MLX could not be loaded", HintCode.DEBUG):
        set_limits = resource.setrlimit
        resource.setrlimit = lambda *_: None
        try:
            import mlx_lm.utils  # noqa: F401, PLC0415 - only a model process needs MLX
        finally:
            resource.setrlimit = set_limits
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
