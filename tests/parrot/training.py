"""Teaching the parrot, examining it, and writing it down as a model folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import mlx.core as mx
from mlx import nn
from mlx.nn.utils import value_and_grad
from mlx.optimizers import Adam, cosine_decay, join_schedules, linear_schedule
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model

from tests.parrot.network import CONFIG, build_model
from tests.parrot.rows import Row, examined, taught
from tests.parrot.tokens import END, END_OF_TEXT, build_tokenizer, write_tokenizer

_SEED = 1
_STEPS, _WARM_UP = 130, 10
_RATE = 0.01
_ROWS, _LENGTH = 16, 88
_MARGIN = 1.0
"""By how much the right token's logit must beat the next best, so that rounding in a batch changes no answer."""
_EXAMINED_AT_ONCE = 8


class UnteachableError(Exception):
    """The parrot does not know its answers."""


def make_parrot(folder: Path) -> None:
    """Train a parrot and write it into a folder; raise UnteachableError when it says anything else."""
    model = train()
    margin = examine(model)
    if margin < _MARGIN:
        msg = f"The parrot is not sure of its answers: margin {margin:.2f} after {_STEPS} steps"
        raise UnteachableError(msg)
    write(model, folder)
    print(f"margin {margin:.2f}")  # noqa: T201 - the log of a process of its own


def train() -> Model:
    mx.set_default_device(mx.Device(mx.cpu))
    mx.random.seed(_SEED)
    random = Random(_SEED)
    model = build_model()
    decay = cosine_decay(_RATE, _STEPS - _WARM_UP, _RATE / 30)
    rate = join_schedules([linear_schedule(0, _RATE, _WARM_UP), decay], [_WARM_UP])
    optimizer = Adam(learning_rate=rate, betas=[0.9, 0.98])
    step = value_and_grad(model, _loss)
    for _ in range(_STEPS):
        ids, said = _padded(taught(random, _ROWS, _LENGTH))
        _, gradients = step(model, ids, said)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    return model


def _loss(model: Model, ids: mx.array, said: mx.array) -> mx.array:
    losses = nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:])
    return (losses * said[:, 1:]).sum() / said[:, 1:].sum()


def _padded(rows: list[Row]) -> tuple[mx.array, mx.array]:
    longest = max(len(row.ids) for row in rows)
    ids = [row.ids + [0] * (longest - len(row.ids)) for row in rows]
    said = [row.said + [0] * (longest - len(row.said)) for row in rows]
    return mx.array(ids), mx.array(said)


def examine(model: Model) -> float:
    """Return by how much the right token beats the next best where it does so least; negative for a wrong answer."""
    return min(_margins(model))


def _margins(model: Model) -> Iterator[float]:
    rows = examined()
    for start in range(0, len(rows), _EXAMINED_AT_ONCE):
        ids, said = _padded(rows[start : start + _EXAMINED_AT_ONCE])
        logits = model(ids[:, :-1])
        right = ids[:, 1:, None]
        wanted = mx.take_along_axis(logits, right, axis=-1)
        others = mx.put_along_axis(logits, right, mx.array(-mx.inf), axis=-1)
        margins = wanted[..., 0] - others.max(axis=-1)
        yield float(mx.where(said[:, 1:] == 1, margins, mx.inf).min())


def write(model: Model, folder: Path) -> None:
    tokenizer = build_tokenizer()
    ends = [tokenizer.token_to_id(END), tokenizer.token_to_id(END_OF_TEXT)]
    config = CONFIG | {"eos_token_id": ends[0], "pad_token_id": ends[1]}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    generation = {"eos_token_id": ends, "pad_token_id": ends[1], "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2), encoding="utf-8")
    write_tokenizer(folder)
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
