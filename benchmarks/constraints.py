"""Constraints: rows that are held to a grammar against the same rows free, in one process, in turns.

Toy models with random weights and large vocabularies show what masks cost, the starter (CPU profile ``fast``) what a
user sees. Both sides generate the same number of tokens for the same prompts. The ratio is the median of the ratios of
the rounds. The time to the first token includes the compilation of a grammar that is new. Then hostile constraints are
compiled in a thread while free rows decode, and hostile rows run beside them: the table has the longest gap between two
tokens of the free rows.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import attrs

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.grammars import Grammars, Matcher
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.constraints.rules import bodies
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location

_ROUNDS = int(os.environ.get("MLXK_BENCH_ROUNDS", "7"))
_SIZES = (1, 8, 32)
_TOKENS, _PROMPT = 48, 24
_RUNNING = 4
_GAP_TOKENS = 96
_TARGET, _FIRST_TARGET, _GAP_TARGET = 0.9, 1.3, 0.1
_RESULTS = Path(__file__).parent / "results"
_WHEELS = Path(__file__).resolve().parent.parent / ".cache" / "wheels"
_ITEM = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
    },
    "required": ["name", "count", "tags"],
    "additionalProperties": False,
}


@attrs.frozen
class _Side:
    """A model with its grammars."""

    model: Any
    grammars: Grammars
    vocabulary: int

    def open(self) -> Scheduler:
        return Scheduler(self.model, (), prefix_bytes=0)


class _Words:
    """A tokenizer with random tokens of letters after the single bytes; only what grammars ask for."""

    added_tokens: Mapping[str, int] = {"<eos>": 256}

    def __init__(self, size: int) -> None:
        random = Random(size)  # noqa: S311 - the tokens do not matter
        letters = 'aeinorst {}[]",:0123456789'
        self._made = ["".join(random.choices(letters, k=random.randint(2, 7))).encode() for _ in range(size)]

    def token_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b"<eos>" if token == 256 else self._made[token]  # noqa: PLR2004 - bytes

    def encode(self, text: str, **_: object) -> tuple[int, ...]:
        return tuple(text.encode())


def main() -> None:
    """Time every model, or those whose names begin with the arguments; print and save the table."""
    load_fast_blas()
    rows = ["| model | what | free | held | ratio or seconds | target | met |", "|---|---|---|---|---|---|---|"]
    stored: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Callable[[], _Side]] = {
            "toy, 49,152 tokens": lambda: _toy(49_152),
            "toy, 151,936 tokens": lambda: _toy(151_936),
            "starter, fast": lambda: _starter(Path(folder)),
        }
        for name, make in sides.items():
            if not name.startswith(tuple(sys.argv[1:]) or ""):
                continue
            stored[name] = _measured(make())
            lines = _lines(name, stored[name], is_real=name.startswith("starter"))
            print("\n".join(lines), flush=True)
            rows += lines
    _save("\n".join(rows), stored)


def _toy(size: int) -> _Side:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.llama import Model, ModelArgs  # noqa: PLC0415

    config = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4}
    config |= {"num_hidden_layers": 2, "vocab_size": size, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    mx.random.seed(1)
    model = Model(ModelArgs.from_dict(config))  # type: ignore[no-untyped-call] # mlx-lm's own
    mx.eval(model.parameters())
    words: Any = _Words(size)
    return _Side(model, Grammars(words, {256}, size), size)


def _starter(folder: Path) -> _Side:
    environment = {**os.environ, "MLXK_WORKSPACE_HOME": str(folder), "MLXK_WHEELS": str(_WHEELS)}
    command = [sys.executable, "-m", "mlxknife", "pull", "starter"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    model = MlxTextLoader().load(LoadRequest(Location(str(folder / "starter"), ()), "fast"))
    scheduler: Any = model._scheduler  # noqa: SLF001 - the module itself has no public name
    return _Side(scheduler._model, model._grammars, scheduler.vocabulary_size)  # noqa: SLF001


def _grammar(schema: Mapping[str, object]) -> str:
    builder = GrammarBuilder({})
    return builder.source(bodies.body(builder, Constraint.json_schema(schema)))


def _long_list(number: int) -> str:
    """Return a grammar of answers that do not end within the measurement; each number gives another grammar."""
    return _grammar({"type": "array", "items": _ITEM, "minItems": 100 + number})


def _measured(side: _Side) -> dict[str, Any]:
    random, found = Random(1), dict[str, Any]()  # noqa: S311 - the tokens do not matter
    side.grammars.compile(_long_list(0))
    for size in _SIZES:
        prompts = [tuple(random.randrange(side.vocabulary) for _ in range(_PROMPT)) for _ in range(size)]
        rates: dict[str, list[float]] = {"free": [], "held": []}
        firsts: dict[str, list[float]] = {"free": [], "held": []}
        for turn in range(_ROUNDS + 1):
            for name in ("free", "held") if turn % 2 else ("held", "free"):
                grammar = None if name == "free" else _long_list(size * 1000 + turn)
                first, rate = _timed(side, prompts, grammar)
                if turn:
                    rates[name].append(rate)
                    firsts[name].append(first)
        found[f"{size} rows, tokens/s"] = rates
        found[f"{size} rows, first token, ms"] = {
            name: [one * 1000 for one in values] for name, values in firsts.items()
        }
    found["gaps"] = _gaps(side, random)
    return found


def _timed(side: _Side, prompts: list[tuple[int, ...]], grammar: str | None) -> tuple[float, float]:
    """Return the seconds to the first token, and the tokens per second."""
    scheduler = side.open()
    started = time.perf_counter()
    if grammar is not None:
        side.grammars.compile(grammar)
    for number, prompt in enumerate(prompts):
        matcher = None if grammar is None else side.grammars.matcher(grammar)
        scheduler.add_row(Row(number, prompt, _TOKENS), matcher)
    count, first = 0, 0.0
    while not scheduler.is_idle:
        steps = scheduler.step().steps
        if steps and not count:
            first = time.perf_counter() - started
        count += len(steps)
    seconds = time.perf_counter() - started
    scheduler.close()
    if count != len(prompts) * _TOKENS:
        msg = f"{count} tokens instead of {len(prompts) * _TOKENS}"
        raise SystemExit(msg)
    return first, count / seconds


def _hostile() -> dict[str, Callable[[], str]]:
    """Return constraints that cost as much as the limits allow, and more."""
    pairs = [[{"type": "object", "properties": {f"{key}{n}": {}}} for key in "ab"] for n in range(7)]
    deep = '{"items": ' * 1000 + "true" + "}" * 1000
    return {
        "900 properties": lambda: _grammar({"properties": {f"p{n}": {"type": "string"} for n in range(900)}}),
        "10,000 properties": lambda: _grammar({"properties": {f"p{n}": {} for n in range(10_000)}}),
        "128 alternatives": lambda: _grammar({"allOf": [{"anyOf": pair} for pair in pairs]}),
        "enum of 5,000": lambda: _grammar({"enum": [f"value {n}" for n in range(5_000)]}),
        "enum of 100,000": lambda: _grammar({"enum": [str(n) for n in range(100_000)]}),
        "multipleOf 9,973": lambda: _grammar({"type": "integer", "multipleOf": 9_973}),
        "depth 1,000": lambda: _grammar(json.loads(deep)),
    }


def _gaps(side: _Side, random: Random) -> dict[str, dict[str, float]]:
    """Return for each hostile constraint the longest gap of free rows, and the seconds of its compilation."""
    prompts = [tuple(random.randrange(side.vocabulary) for _ in range(_PROMPT)) for _ in range(_RUNNING)]
    found = {"none": {"gap": min(_gap(side, prompts, None, None)[0] for _ in range(3))}}
    for name, make in _hostile().items():
        gap, seconds = _gap(side, prompts, make, None)
        found[name] = {"gap": gap, "seconds": seconds}
    exploding = "start: /((a{1,100}){1,100}){1,100}b/"
    found["a row whose pattern explodes"] = {"gap": _gap(side, prompts, None, side.grammars.matcher(exploding))[0]}
    return found


def _gap(
    side: _Side, prompts: list[tuple[int, ...]], make: Callable[[], str] | None, matcher: Matcher | None
) -> tuple[float, float]:
    seconds = [0.0]

    def compile_it() -> None:
        started = time.perf_counter()
        try:
            if make is not None:
                side.grammars.compile(make())
        except (ValidationError, RecursionError):
            pass
        seconds[0] = time.perf_counter() - started

    scheduler, thread = side.open(), threading.Thread(target=compile_it)
    for number, prompt in enumerate(prompts):
        scheduler.add_row(Row(number, prompt, _GAP_TOKENS))
    while not scheduler.step().steps:
        pass
    if matcher is not None:
        scheduler.add_row(Row(_RUNNING, prompts[0][:1], _GAP_TOKENS), matcher)
    thread.start()
    gap, before = 0.0, time.perf_counter()
    while not scheduler.is_idle:
        scheduler.step()
        now = time.perf_counter()
        gap, before = max(gap, now - before), now
    thread.join()
    scheduler.close()
    return gap, seconds[0]


def _lines(name: str, found: dict[str, Any], *, is_real: bool) -> list[str]:
    lines = []
    for what, sides in found.items():
        if what == "gaps":
            continue
        free, held = (statistics.median(sides[kind]) for kind in ("free", "held"))
        ratio = statistics.median(mine / theirs for mine, theirs in zip(sides["held"], sides["free"], strict=True))
        is_rate = what.endswith("tokens/s")
        target = f">= {_TARGET}" if is_rate else f"<= {_FIRST_TARGET}"
        is_met = ratio >= _TARGET if is_rate else ratio <= _FIRST_TARGET
        met = ("yes" if is_met else "no") if is_real else ""
        lines.append(
            f"| {name} | {what} | {free:.1f} | {held:.1f} | {ratio:.2f} | {target if is_real else ''} | {met} |"
        )
    base = found["gaps"]["none"]["gap"]
    for what, values in found["gaps"].items():
        added = max(0.0, values["gap"] - base)
        seconds = f", {values['seconds']:.2f} s" if "seconds" in values else ""
        met = "yes" if added <= _GAP_TARGET else "no"
        lines.append(
            f"| {name} | longest gap beside: {what}{seconds} | {base * 1000:.0f} ms | {values['gap'] * 1000:.0f} ms "
            f"| +{added * 1000:.0f} ms | <= +{_GAP_TARGET * 1000:.0f} ms | {met} |"
        )
    return lines


def _save(table: str, stored: dict[str, Any]) -> None:
    versions = {name: version(name) for name in ("mlx", "mlx-lm", "llguidance")}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    facts = {"python": platform.python_version(), "machine": machine, "versions": versions, "measured": stored}
    name = f"constraints-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    results = Path(os.environ.get("MLXK_BENCH_RESULTS", _RESULTS))
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    (results / f"{name}.md").write_text(f"# Constraints\n\n{machine}, Python {platform.python_version()}\n\n{table}\n")


if __name__ == "__main__":
    main()
