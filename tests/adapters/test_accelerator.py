"""``has_gpu`` answers from the machine and the installed packages, without loading MLX."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

MX = "import mlx.core as mx; print(mx.default_device().type == mx.DeviceType.gpu)"
HAS_GPU = "import sys; from mlxknife.adapters.system.accelerator import has_gpu; print(has_gpu(), 'mlx' in sys.modules)"


def output(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


def test_the_answer_for_this_machine_is_that_of_mlx() -> None:
    assert output(HAS_GPU) == f"{output(MX)} False"


@pytest.mark.skipif(platform.system() != "Linux", reason="only on Linux a package decides")
@pytest.mark.parametrize("name", ["mlx_cuda_12", "mlx_cuda_13", "mlx_cuda"])
def test_on_linux_an_installed_cuda_backend_decides(tmp_path: Path, name: str) -> None:
    info = tmp_path / f"{name}-0.32.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.32.4\n")
    assert output(HAS_GPU, PYTHONPATH=str(tmp_path)) == "True False"
