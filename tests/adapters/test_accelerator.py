"""Whether there is a GPU is told from what the machine is and what is installed, without loading MLX."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

MX = "import mlx.core as mx; print(mx.default_device().type == mx.DeviceType.gpu)"
ASK = "import sys; from mlxknife.adapters.system.accelerator import has_gpu; print(has_gpu(), 'mlx' in sys.modules)"


def answer(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


def test_this_machine_is_told_as_mlx_sees_it() -> None:
    assert answer(ASK) == f"{answer(MX)} False"


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere no package decides")
@pytest.mark.parametrize("name", ["mlx_cuda_12", "mlx_cuda_13", "mlx_cuda"])
def test_on_linux_the_backend_for_cuda_decides(tmp_path: Path, name: str) -> None:
    info = tmp_path / f"{name}-0.32.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.32.4\n")
    assert answer(ASK, PYTHONPATH=str(tmp_path)) == "True False"
