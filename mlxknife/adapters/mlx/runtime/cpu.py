"""Machines without a GPU: a fast BLAS first, and weights in a form that their processor can work with.

MLX's CPU backend emulates half precision, a number at a time, and its wheel brings a slow BLAS. An OpenBLAS that is
loaded before MLX wins the resolution of symbols; float32 weights need no emulation.
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
"""Packages that bring an OpenBLAS with plain symbol names, and what must be loaded, in this order."""
_SYSTEM = "libopenblas.so.0"
_TURNS = "300"
"""About as long as it takes to wake a thread."""
_SMALL = 64 * 1024 * 1024
"""Bytes of weights."""


def spare_processors(folder: str) -> None:
    """Keep the BLAS, before it is loaded, from taking processors that others have better use for.

    Its threads wait for work by turning in circles for milliseconds, which is as good as nothing for a process that has
    the machine to itself, and takes a server's front end its processor. The matrices of a small model are not worth a
    second thread. What the surroundings say stands.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _TURNS)
    if sum(map(os.path.getsize, glob(os.path.join(folder, "*.safetensors")))) < _SMALL:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@cache
def load_fast_blas() -> str | None:
    """Load an OpenBLAS into the process, before MLX is imported; return where it came from, or None.

    A process can have one, and the first call decides.
    """
    if not sys.platform.startswith("linux") or "mlx.core" in sys.modules:
        return None
    for package, folder, patterns in _LIBRARIES:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            place = os.path.normpath(os.path.join(next(iter(spec.submodule_search_locations)), folder))
            if _load_all(place, patterns):
                return package
    with suppress(OSError):
        ctypes.CDLL(_SYSTEM, mode=ctypes.RTLD_GLOBAL)
        return "the system"
    return None


def _load_all(place: str, patterns: tuple[str, ...]) -> bool:
    try:
        paths = [min(glob(os.path.join(place, pattern))) for pattern in patterns]
        for path in paths:
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except (ValueError, OSError):
        return False
    return True


def widen(model: Any, *, unpack: bool) -> None:  # noqa: ANN401 - a module of MLX
    """Bring half-precision weights that were loaded lazily to float32; ``unpack`` also undoes quantisation.

    They are computed one by one, so that what they were made of is never in the memory for all of them.
    """
    import mlx.core as mx  # noqa: PLC0415 - only to run a model
    from mlx.utils import tree_flatten, tree_map  # noqa: PLC0415

    halves = (mx.float16, mx.bfloat16)
    model.update(
        tree_map(lambda value: value.astype(mx.float32) if value.dtype in halves else value, model.parameters())
    )
    if unpack:
        from mlx_lm.utils import dequantize_model  # noqa: PLC0415

        dequantize_model(model)
    for value in dict(tree_flatten(model.parameters())).values():
        mx.eval(value)
