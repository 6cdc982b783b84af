"""A real model for all servers: the starter as a copy in float32, which no backend has to emulate.

What it says takes long beside what stands around it: it shows what a server costs a model of some size, and what
the BLAS is worth that a server installs with. Prompts are short, for a processor reads them slowly.
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
_THINGS = "a lighthouse|a long winter|two rivers|the first train|an old clock|a blue door|the sea at night|a lost map"
_KEPT = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "README.md")


def question(random: Random) -> str:
    """Return something that takes more than a few words to answer, and that hardly anybody asked before."""
    first, second = random.sample(_THINGS.split("|"), 2)
    return f"Write a long story about {first} and {second} in the year {random.randrange(1000, 3000)}."


def write_model(hub: Path) -> Path:
    """Bring the starter and put its copy into a cache as huggingface_hub lays it out; return the folder."""
    folder = make_snapshot(hub, NAME, _COMMIT)
    workspaces = hub.parent / "workspaces"
    surroundings = {**os.environ, "MLXK_WORKSPACE_HOME": str(workspaces), "MLXK_WHEELS": str(_WHEELS)}
    command = [sys.executable, "-m", "mlxknife", "pull", "starter"]
    subprocess.run(command, env=surroundings, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _copy(workspaces / "starter", folder)
    shutil.rmtree(workspaces)
    return folder


def _copy(starter: Path, folder: Path) -> None:
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
