"""A real model for all servers: the starter converted to float32, which no backend has to emulate.

Its decode steps are long, so it shows what a server costs with a model of some size, and what the BLAS of a server is
worth. Prompts are short, because a CPU is slow in prefill.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from serving.model import make_snapshot

NAME = "mlx-community/SmolLM2-135M-Instruct-float32"
TOKENS = 24
_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
_WHEELS = Path(__file__).resolve().parent.parent.parent / ".cache" / "wheels"
_TOPICS = "a lighthouse|a long winter|two rivers|the first train|an old clock|a blue door|the sea at night|a lost map"
_KEPT = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "README.md")


def question(random: Random) -> str:
    """Return a question with a long answer that differs in nearly every request."""
    first, second = random.sample(_TOPICS.split("|"), 2)
    return f"Write a long story about {first} and {second} in the year {random.randrange(1000, 3000)}."


def write_model(hub: Path) -> Path:
    """Pull the starter, write its float32 copy into a cache in the layout of huggingface_hub and return the folder."""
    folder = make_snapshot(hub, NAME, _COMMIT)
    workspaces = hub.parent / "workspaces"
    environment = {**os.environ, "MLXK_WORKSPACE_HOME": str(workspaces), "MLXK_WHEELS": str(_WHEELS)}
    command = [sys.executable, "-m", "mlxknife", "pull", "starter"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _convert(workspaces / "starter", folder)
    shutil.rmtree(workspaces)
    return folder


def _convert(starter: Path, folder: Path) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx.utils import tree_map  # noqa: PLC0415
    from mlx_lm.utils import dequantize_model, load_model, save_model  # noqa: PLC0415

    if sys.platform == "linux":
        mx.set_default_device(mx.Device(mx.cpu))
    model, _ = load_model(starter)
    whole: Any = dequantize_model(model)
    whole.update(tree_map(lambda part: part.astype(mx.float32), whole.parameters()))
    save_model(folder, whole)
    config = json.loads((starter / "config.json").read_text())
    config.pop("quantization", None)
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}, indent=2))
    for name in _KEPT:
        shutil.copy(starter / name, folder / name)
