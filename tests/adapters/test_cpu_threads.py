"""The threads of the BLAS are limited before it is loaded, unless the environment decides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlxknife.adapters.mlx.runtime.cpu import limit_threads

_SMALL, _LARGE = 1024, 64 * 1024 * 1024


@pytest.fixture(autouse=True)
def _unset_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what the function sets
        monkeypatch.delenv(name)


def _folder(path: Path, *sizes: int) -> str:
    for number, size in enumerate(sizes):
        with (path / f"model-{number}.safetensors").open("wb") as file:
            file.truncate(size)
    return str(path)


def test_a_small_model_computes_with_one_thread(tmp_path: Path) -> None:
    limit_threads(_folder(tmp_path, _SMALL, _SMALL))
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert int(os.environ["GOMP_SPINCOUNT"]) < 1000


@pytest.mark.parametrize("sizes", [(_LARGE,), (_LARGE // 2, _LARGE // 2)])
def test_a_large_model_computes_with_all_threads_that_wait_briefly(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    limit_threads(_folder(tmp_path, *sizes))
    assert "OMP_NUM_THREADS" not in os.environ
    assert int(os.environ["GOMP_SPINCOUNT"]) < 1000


def test_variables_that_are_set_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("GOMP_SPINCOUNT", "8")
    limit_threads(_folder(tmp_path, _SMALL))
    assert (os.environ["OMP_NUM_THREADS"], os.environ["GOMP_SPINCOUNT"]) == ("7", "8")


def test_a_folder_without_weights_raises_nothing(tmp_path: Path) -> None:
    limit_threads(str(tmp_path / "nowhere"))
    assert os.environ["OMP_NUM_THREADS"] == "1"  # no weights: the loader reports the error
