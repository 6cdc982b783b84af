"""The threads of numpy's BLAS."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from glob import glob

_SETTERS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads")
_VARIABLES = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "MKL_NUM_THREADS")


def use_one_thread() -> None:
    """Let the BLAS of numpy compute each product in the thread that asks for it.

    Threads of ours compute rows of their own. If each of them had threads of the BLAS, they would wait for one another.
    The variables count where numpy is not loaded yet, and for Apple's BLAS.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
    import numpy as np  # noqa: PLC0415 - after the variables

    folder = os.path.join(os.path.dirname(np.__file__), os.pardir, "numpy.libs")
    for path in glob(os.path.join(folder, "*openblas*")):
        with suppress(OSError):
            library = ctypes.CDLL(path)  # it is loaded already
            for name in _SETTERS:
                setter = getattr(library, name, None)
                if setter is not None:
                    setter(1)
                    return
