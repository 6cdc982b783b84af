"""The entry of every console script (``mlxk`` and its other names, ``mlx-run``, ``mlx-tee``) and of ``python -m``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlxknife.cli import process
from mlxknife.cli.main import run_command_line

if TYPE_CHECKING:
    from mlxknife.app import App


def main() -> int:
    """Run ``mlxk`` with the arguments of this process and return its exit code."""
    if sys.argv[1:2] == ["--worker-fd"]:  # the process of a model, which only our own server starts
        from mlxknife.wiring.app import run_worker  # noqa: PLC0415 - --version and --help need none of it

        return run_worker(*map(int, sys.argv[2:4]))
    with process.collecting_seldom():
        return run_command_line(sys.argv[1:], _open_app)


def main_run() -> int:
    """Run ``mlx-run``, which is ``mlxk run``."""
    with process.collecting_seldom():
        return run_command_line(["run", *sys.argv[1:]], _open_app)


def main_tee() -> int:
    """Run ``mlx-tee``."""
    from mlxknife.cli.tee import run_tee  # noqa: PLC0415 - no other program needs it

    with process.collecting_seldom():
        return run_tee(sys.argv[1:], _open_app)


def _open_app() -> App:
    from mlxknife.wiring.app import open_app  # noqa: PLC0415 - --version and --help need none of it

    return open_app()


if __name__ == "__main__":
    sys.exit(main())
