"""Continuous batching: our batch against mlx-lm's bare ``BatchGenerator``, in one process, in turns.

The model is a small Llama with random weights, made on the spot, so that what is measured is all that stands around the
model. Each side gets the same prompts and as many tokens, greedy; a round is timed from the first admission to the last
token; the ratio is the median of the rounds' own ratios. Then a long prompt comes while rows run: the longest gap
between two of their tokens, and how long until that prompt is read.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.generation.values.rows import Row

_ROUNDS = 15
_LONG_ROUNDS = 7
_TOKENS = 64
_PROMPT = 24
_LONG = 4096
_COMPANY = 4
_SIZES = (1, 8, 32)
_GOAL = 0.95
_VOCABULARY = 4096
_PLACES = 32
_ROOM = 2**30
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Make the model, time, print and save."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a model this small is slower with more, on both sides
    blas = load_fast_blas()
    model = _model()
    random = Random(1)  # noqa: S311 - any tokens will do
    found: dict[int, dict[str, list[float]]] = {}
    for size in _SIZES:
        prompts = [[random.randrange(1, _VOCABULARY) for _ in range(_PROMPT)] for _ in range(size)]
        found[size] = {"ours": [], "bare": []}
        for turn in range(_ROUNDS + 1):
            sides = (("ours", _ours), ("bare", _bare))
            for name, side in sides if turn % 2 else reversed(sides):
                count, spent = side(model, prompts)
                if count != size * _TOKENS:
                    msg = f"{name}: {count} tokens instead of {size * _TOKENS}"
                    raise SystemExit(msg)
                if turn:
                    found[size][name].append(count / spent)
    _report(found, _beside_long(model, random), blas)


def _model() -> Any:  # noqa: ANN401 - a module of mlx-lm
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.llama import Model, ModelArgs  # noqa: PLC0415

    mx.random.seed(1)
    config = {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": _VOCABULARY,
        "rms_norm_eps": 1e-5,
    }
    model = Model(ModelArgs.from_dict(config))  # type: ignore[no-untyped-call] # mlx-lm's own
    mx.eval(model.parameters())
    return model


def _ours(model: Any, prompts: list[list[int]]) -> tuple[int, float]:  # noqa: ANN401
    batches = MlxBatches(model, (), budget=_ROOM, places=_PLACES)
    began = time.perf_counter()
    for number, prompt in enumerate(prompts):
        batches.admit(Row(id=number, prompt=tuple(prompt), max_tokens=_TOKENS))
    count = 0
    while not batches.is_idle:
        count += len(batches.step().steps)
    spent = time.perf_counter() - began
    batches.close()
    return count, spent


def _bare(model: Any, prompts: list[list[int]]) -> tuple[int, float]:  # noqa: ANN401
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

    generator: Any = BatchGenerator(model, completion_batch_size=_PLACES)
    began = time.perf_counter()
    generator.insert(prompts, [_TOKENS] * len(prompts))
    count = 0
    while said := generator.next_generated():
        count += len(said)
    spent = time.perf_counter() - began
    generator.close()
    return count, spent


def _beside_long(model: Any, random: Random) -> dict[str, list[float]]:  # noqa: ANN401
    """Return the longest gaps of running rows while a long prompt is read, and how long that took."""
    long = [random.randrange(1, _VOCABULARY) for _ in range(_LONG)]
    short = [[random.randrange(1, _VOCABULARY) for _ in range(_PROMPT)] for _ in range(_COMPANY)]
    found: dict[str, list[float]] = {"ours gap": [], "ours read": [], "bare gap": [], "bare read": []}
    for turn in range(_LONG_ROUNDS + 1):
        for name, side in (("ours", _ours_beside), ("bare", _bare_beside)):
            gap, read = side(model, long, short)
            if turn:
                found[f"{name} gap"].append(gap)
                found[f"{name} read"].append(read)
    return found


def _ours_beside(model: Any, long: list[int], short: list[list[int]]) -> tuple[float, float]:  # noqa: ANN401
    batches = MlxBatches(model, (), budget=_ROOM, places=_PLACES)
    for number, prompt in enumerate(short):
        batches.admit(Row(id=number, prompt=tuple(prompt), max_tokens=_LONG))
    while not batches.step().steps:
        pass
    batches.admit(Row(id=_COMPANY, prompt=tuple(long), max_tokens=2))
    found = _gap_until(lambda: {step.row for step in batches.step().steps}, _COMPANY)
    batches.close()
    return found


def _bare_beside(model: Any, long: list[int], short: list[list[int]]) -> tuple[float, float]:  # noqa: ANN401
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

    generator: Any = BatchGenerator(model, completion_batch_size=_PLACES)
    generator.insert(short, [_LONG] * len(short))
    generator.next_generated()
    (number,) = generator.insert([long], [2])
    found = _gap_until(lambda: {response.uid for response in generator.next()[1]}, number)
    generator.close()
    return found


def _gap_until(step: Any, last: int) -> tuple[float, float]:  # noqa: ANN401 - a function that tells which rows moved
    began = before = time.perf_counter()
    gap = 0.0
    while True:
        moved = step()
        now = time.perf_counter()
        gap, before = max(gap, now - before), now
        if last in moved:
            return gap, now - began


def _report(found: dict[int, dict[str, list[float]]], beside: dict[str, list[float]], blas: str | None) -> None:
    lines = ["| what | ours | bare | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    for size, sides in found.items():
        ours, bare = (statistics.median(sides[name]) for name in ("ours", "bare"))
        ratio = statistics.median(mine / theirs for mine, theirs in zip(sides["ours"], sides["bare"], strict=True))
        met = "yes" if ratio >= _GOAL else "no"
        lines.append(f"| {size} rows, tokens/s | {ours:.0f} | {bare:.0f} | {ratio:.2f} | >= {_GOAL} | {met} |")
    medians = {name: statistics.median(values) * 1000 for name, values in beside.items()}
    for what, key, goal in (
        (f"longest gap beside a prompt of {_LONG}, ms", "gap", 0.25),
        ("that prompt, until its first token, ms", "read", 1.3),
    ):
        ours, bare = medians[f"ours {key}"], medians[f"bare {key}"]
        met = "yes" if ours / bare <= goal else "no"
        lines.append(f"| {what} | {ours:.1f} | {bare:.1f} | {ours / bare:.2f} | <= {goal} | {met} |")
    table = "\n".join(lines)
    print(table)
    versions = {name: version(name) for name in ("mlx", "mlx-lm")}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    stored = {
        "python": platform.python_version(),
        "machine": machine,
        "blas": blas,
        "versions": versions,
        "tokens_per_second": found,
        "seconds_beside_a_long_prompt": beside,
    }
    name = f"batching-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# Batching\n\n{machine}, Python {platform.python_version()}\n\n{table}\n")


if __name__ == "__main__":
    main()
