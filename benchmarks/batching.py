"""Continuous batching: our scheduler against mlx-lm's bare ``BatchGenerator``, in one process, in turns.

The model is a small Llama with random weights, so the figures show the cost of everything around a model. Both sides
generate the same number of tokens for the same prompts, greedily. A round is timed from the first admission to the last
token, and the ratio is the median of the ratios of the rounds. Then a long prompt arrives while rows decode: the table
has the longest gap between two of their tokens, and the time of that prefill.
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
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.rows import Row

_ROUNDS = 15
_LONG_ROUNDS = 7
_TOKENS = 64
_PROMPT = 24
_LONG = 4096
_RUNNING_ROWS = 4
_SIZES = (1, 8, 32)
_TARGET = 0.95
_VOCABULARY = 4096
_MAX_ROWS = 32
_BUDGET = 2**30
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Create the model, time both sides, print and save the table."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a model this small is slower with more, on both sides
    blas = load_fast_blas()
    model = _model()
    random = Random(1)  # noqa: S311 - the tokens do not matter
    found: dict[int, dict[str, list[float]]] = {}
    for size in _SIZES:
        prompts = [[random.randrange(1, _VOCABULARY) for _ in range(_PROMPT)] for _ in range(size)]
        found[size] = {"ours": [], "bare": []}
        for turn in range(_ROUNDS + 1):
            sides = (("ours", _ours), ("bare", _bare))
            for name, side in sides if turn % 2 else reversed(sides):
                count, seconds = side(model, prompts)
                if count != size * _TOKENS:
                    msg = f"{name}: {count} tokens instead of {size * _TOKENS}"
                    raise SystemExit(msg)
                if turn:
                    found[size][name].append(count / seconds)
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
    scheduler = Scheduler(model, (), prefix_bytes=_BUDGET, max_rows=_MAX_ROWS)
    started = time.perf_counter()
    for number, prompt in enumerate(prompts):
        scheduler.add_row(Row(id=number, prompt=tuple(prompt), max_tokens=_TOKENS))
    count = 0
    while not scheduler.is_idle:
        count += len(scheduler.step().steps)
    seconds = time.perf_counter() - started
    scheduler.close()
    return count, seconds


def _bare(model: Any, prompts: list[list[int]]) -> tuple[int, float]:  # noqa: ANN401
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - already loaded

    generator: Any = BatchGenerator(model, completion_batch_size=_MAX_ROWS)
    started = time.perf_counter()
    generator.insert(prompts, [_TOKENS] * len(prompts))
    count = 0
    while responses := generator.next_generated():
        count += len(responses)
    seconds = time.perf_counter() - started
    generator.close()
    return count, seconds


def _beside_long(model: Any, random: Random) -> dict[str, list[float]]:  # noqa: ANN401
    """Return the longest gaps of running rows during the prefill of a long prompt, and the seconds of that prefill."""
    long = [random.randrange(1, _VOCABULARY) for _ in range(_LONG)]
    short = [[random.randrange(1, _VOCABULARY) for _ in range(_PROMPT)] for _ in range(_RUNNING_ROWS)]
    found: dict[str, list[float]] = {"ours gap": [], "ours prefill": [], "bare gap": [], "bare prefill": []}
    for turn in range(_LONG_ROUNDS + 1):
        for name, side in (("ours", _ours_beside), ("bare", _bare_beside)):
            gap, prefill = side(model, long, short)
            if turn:
                found[f"{name} gap"].append(gap)
                found[f"{name} prefill"].append(prefill)
    return found


def _ours_beside(model: Any, long: list[int], short: list[list[int]]) -> tuple[float, float]:  # noqa: ANN401
    scheduler = Scheduler(model, (), prefix_bytes=_BUDGET, max_rows=_MAX_ROWS)
    for number, prompt in enumerate(short):
        scheduler.add_row(Row(id=number, prompt=tuple(prompt), max_tokens=_LONG))
    while not scheduler.step().steps:
        pass
    scheduler.add_row(Row(id=_RUNNING_ROWS, prompt=tuple(long), max_tokens=2))
    found = _gap_until(lambda: {step.row for step in scheduler.step().steps}, _RUNNING_ROWS)
    scheduler.close()
    return found


def _bare_beside(model: Any, long: list[int], short: list[list[int]]) -> tuple[float, float]:  # noqa: ANN401
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - already loaded

    generator: Any = BatchGenerator(model, completion_batch_size=_MAX_ROWS)
    generator.insert(short, [_LONG] * len(short))
    generator.next_generated()
    (number,) = generator.insert([long], [2])
    found = _gap_until(lambda: {response.uid for response in generator.next()[1]}, number)
    generator.close()
    return found


def _gap_until(step: Any, last: int) -> tuple[float, float]:  # noqa: ANN401 - a function that returns the rows with a new token
    started = before = time.perf_counter()
    gap = 0.0
    while True:
        rows = step()
        now = time.perf_counter()
        gap, before = max(gap, now - before), now
        if last in rows:
            return gap, now - started


def _report(found: dict[int, dict[str, list[float]]], beside: dict[str, list[float]], blas: str | None) -> None:
    lines = ["| what | ours | bare | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    for size, sides in found.items():
        ours, bare = (statistics.median(sides[name]) for name in ("ours", "bare"))
        ratio = statistics.median(mine / theirs for mine, theirs in zip(sides["ours"], sides["bare"], strict=True))
        met = "yes" if ratio >= _TARGET else "no"
        lines.append(f"| {size} rows, tokens/s | {ours:.0f} | {bare:.0f} | {ratio:.2f} | >= {_TARGET} | {met} |")
    medians = {name: statistics.median(values) * 1000 for name, values in beside.items()}
    for what, key, target in (
        (f"longest gap during a prefill of {_LONG} tokens, ms", "gap", 0.25),
        ("that prefill, to its first token, ms", "prefill", 1.3),
    ):
        ours, bare = medians[f"ours {key}"], medians[f"bare {key}"]
        met = "yes" if ours / bare <= target else "no"
        lines.append(f"| {what} | {ours:.1f} | {bare:.1f} | {ours / bare:.2f} | <= {target} | {met} |")
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
