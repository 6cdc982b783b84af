"""Machines without a GPU: a fast BLAS, its threads, and weights in a form that the CPU computes fast.

MLX's CPU backend emulates half precision number by number, and its wheel links a slow BLAS. An OpenBLAS that is loaded
before MLX wins symbol resolution; float32 weights need no emulation.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from glob import glob
from importlib.util import find_spec
from typing import Any

_LIBRARIES = (
    ("faiss", "../faiss_cpu.libs", ("libquadmath*", "libgfortran*", "libgomp*", "libopenblaso*")),
    ("cv2", "../opencv_python.libs", ("libquadmath*", "libgfortran*", "libopenblas*")),
)
"""Packages that ship an OpenBLAS with plain symbol names, and their libraries in loading order."""
_SYSTEM = "libopenblas.so.0"
_SPIN_COUNT = "300"
"""About the time that it takes to wake a thread."""
_SMALL = 64 * 1024 * 1024
"""Models with fewer bytes of weights compute fastest with one thread."""


def limit_threads(folder: str) -> None:
    """Set how the threads of the BLAS work, before it is loaded. Existing environment variables win.

    Its threads busy-wait for milliseconds by default, which takes a core from the server beside it.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    if sum(map(os.path.getsize, glob(os.path.join(folder, "*.safetensors")))) < _SMALL:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@cache
def load_fast_blas() -> str | None:
    """Load an OpenBLAS before MLX is imported; return the name of its source, or None.

    A process can have one, and the first call decides.
    """
    if not sys.platform.startswith("linux") or "mlx.core" in sys.modules:
        return None
    for package, folder, patterns in _LIBRARIES:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            location = os.path.normpath(os.path.join(next(iter(spec.submodule_search_locations)), folder))
            if _load_all(location, patterns):
                return package
    with suppress(OSError):
        ctypes.CDLL(_SYSTEM, mode=ctypes.RTLD_GLOBAL)
        return "the system"
    return None


def _load_all(folder: str, patterns: tuple[str, ...]) -> bool:
    try:
        paths = [min(glob(os.path.join(folder, pattern))) for pattern in patterns]
        for path in paths:
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except (ValueError, OSError):
        return False
    return True


def widen(model: Any, *, dequantize: bool) -> None:  # noqa: ANN401 - a module of MLX
    """Convert half-precision weights that were loaded lazily to float32; ``dequantize`` also undoes quantisation.

    They are computed one by one, so that the stored form of all of them is never in memory at once.
    """
    import mlx.core as mx  # noqa: PLC0415 - only a model process needs MLX
    from mlx.utils import tree_flatten, tree_map  # noqa: PLC0415

    halves = (mx.float16, mx.bfloat16)
    model.update(
        tree_map(lambda value: value.astype(mx.float32) if value.dtype in halves else value, model.parameters())
    )
    if dequantize:
        from mlx_lm.utils import dequantize_model  # noqa: PLC0415

        dequantize_model(model)
    for value in dict(tree_flatten(model.parameters())).values():
        mx.eval(value)
