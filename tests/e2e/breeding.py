"""Parrots made of the one that was taught, for what it cannot show itself."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import mlx.core as mx

from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import LONG
from tests.parrot.network import CONFIG

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_WIDTH = 64


def endless_parrot(folder: Path) -> Path:
    """Return a parrot that knows no end: it says its answer, and then something else until it is stopped."""
    shutil.copytree(parrot_folder(), folder)
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    weights = _weights(folder)
    head = mx.array(weights["model.embed_tokens.weight"])
    head[mx.array(ends)] = 0
    _write(folder, weights | {"lm_head.weight": head}, {"tie_word_embeddings": False})
    return folder


def is_beginning(text: str) -> bool:
    """Whether an endless parrot that is asked for the long answer begins with a text."""
    return ANSWERS[LONG].startswith(text) or text.startswith(ANSWERS[LONG])


def wide_parrot(folder: Path) -> Path:
    """Return a parrot whose heads remember 64 numbers, so that they can be quantised in groups; it says the same.

    What is new in the heads is nought, at angles that do not matter. The old numbers keep the angles they had, which
    takes a table of factors, because a wider head has others.
    """
    shutil.copytree(parrot_folder(), folder)
    heads, theta = CONFIG["num_attention_heads"], CONFIG["rope_theta"]
    old = CONFIG["hidden_size"] // heads
    angles = [theta ** (2 * number / old) for number in range(old // 2)]
    angles += [1.0] * (_WIDTH // 2 - len(angles))
    factors = [angle / theta ** (2 * number / _WIDTH) for number, angle in enumerate(angles)]
    places = mx.array([half + number for half in (0, _WIDTH // 2) for number in range(old // 2)])
    weights = _weights(folder)
    for name, value in weights.items():
        if any(f".{part}_proj." in name for part in "qkv"):
            scale = math.sqrt(_WIDTH / old) if ".q_proj." in name else 1.0
            weights[name] = _spread(value * scale, heads, places)
        elif ".o_proj.weight" in name:
            weights[name] = mx.contiguous(_spread(value.T, heads, places).T)
    length = CONFIG["max_position_embeddings"]
    turning = {"rope_type": "longrope", "original_max_position_embeddings": length}
    turning |= {"short_factor": factors, "long_factor": factors}
    _write(folder, weights, {"head_dim": _WIDTH, "rope_scaling": turning})
    return folder


def _spread(rows: mx.array, heads: int, places: mx.array) -> mx.array:
    """Return the rows of narrow heads as those of wide ones."""
    further = rows.shape[1:]
    spread = mx.zeros((heads, _WIDTH, *further), dtype=rows.dtype)
    spread[:, places] = rows.reshape(heads, -1, *further)
    return spread.reshape(heads * _WIDTH, *further)


def _weights(folder: Path) -> dict[str, mx.array]:
    weights = mx.load(str(folder / _WEIGHTS))
    assert isinstance(weights, dict)
    mx.eval(weights)
    return weights


def _write(folder: Path, weights: dict[str, mx.array], settings: dict[str, object]) -> None:
    mx.save_safetensors(str(folder / _WEIGHTS), weights, metadata={"format": "mlx"})
    config = json.loads((folder / _CONFIG).read_text())
    (folder / _CONFIG).write_text(json.dumps(config | settings))
