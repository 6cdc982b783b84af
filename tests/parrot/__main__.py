"""Makes a parrot in a process of its own: ``python -m tests.parrot FOLDER``, or ``FOLDER --quantize SOURCE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.parrot")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantize", type=Path, metavar="SOURCE")
    arguments = parser.parse_args()
    load_fast_blas()
    if arguments.quantize is None:
        from tests.parrot.training import make_parrot  # noqa: PLC0415 - MLX comes after the BLAS

        make_parrot(arguments.folder)
    else:
        from tests.parrot.quantizing import quantize_parrot  # noqa: PLC0415 - MLX comes after the BLAS

        quantize_parrot(arguments.quantize, arguments.folder)


if __name__ == "__main__":
    main()
