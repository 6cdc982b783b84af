"""The entry points: ``mlxk`` and its aliases, ``mlx-run``, ``mlx-embed``, ``mlx-tee``, and ``python -m``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlxknife.cli.main import run_command_line
from mlxknife.cli.signals import default_interrupt_at_exit

if TYPE_CHECKING:
    from mlxknife.app import App

_GC_THRESHOLD = 100_000
"""New objects before a garbage collection: more than a command without MLX creates. Python's own 700 would make the
collector scan the imported modules again and again."""


def main() -> int:
    """Run ``mlxk`` with the arguments of this process and return its exit code."""
    if sys.argv[1:2] == ["--worker-fd"]:  # a model process, which only this product starts
        from mlxknife.domain.engines.values import EngineKind  # noqa: PLC0415 - no command needs it
        from mlxknife.wiring.worker import run_worker  # noqa: PLC0415

        descriptor, parent, *kinds = sys.argv[2:]
        return run_worker(int(descriptor), int(parent), *map(EngineKind, kinds))
    with default_interrupt_at_exit(), _infrequent_gc():
        return run_command_line(sys.argv[1:], _open_app)


def main_run() -> int:
    """Run ``mlx-run``, which is ``mlxk run``."""
    with default_interrupt_at_exit(), _infrequent_gc():
        return run_command_line(["run", *sys.argv[1:]], _open_app)


def main_embed() -> int:
    """Run ``mlx-embed``, which is ``mlxk embed``."""
    with default_interrupt_at_exit(), _infrequent_gc():
        return run_command_line(["embed", *sys.argv[1:]], _open_app)


def main_tee() -> int:
    """Run ``mlx-tee``."""
    from mlxknife.cli.tee import run_tee  # noqa: PLC0415 - no other program needs it

    with default_interrupt_at_exit(), _infrequent_gc():
        return run_tee(sys.argv[1:], _open_app)


@contextmanager
def _infrequent_gc() -> Iterator[None]:
    """Collect garbage seldom, and skip the two collections at exit."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        yield
    finally:
        gc.freeze()


def _open_app(*, reads_config: bool = True) -> App:
    from mlxknife.wiring.app import open_app  # noqa: PLC0415 - --version and --help do not need it

    return open_app(reads_config=reads_config)


if __name__ == "__main__":
    sys.exit(main())
