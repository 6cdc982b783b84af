"""``run`` against mlx-lm: decode and prefill speed, time to the first byte, reuse of the KV cache, and memory.

Decode: a session against a bare ``mlx_lm.stream_generate`` with the same weights, dtype and BLAS, in turns, both timed
from the first token to the last. The second peer is ``mlx_lm.generate`` on the 4-bit folder as it is: MLX's
CPU backend emulates its half-precision scales, so it gets few tokens and one run.

Start: the time from the start of ``mlxk run`` to the first byte of its answer to a short prompt, against a process that
only loads the model, and one that loads it and prefills the same prompt. Ratios are medians over consecutive runs.
Then a chat of ten turns: the tokens that the last turn computed, against the new tokens in it; and the peak memory of
MLX, against the weights and the KV cache.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_ROUNDS = 7
_TOKENS = 64
_PEER_TOKENS = 8
_MIB = 1024 * 1024
_QUESTION = "What is the capital of France?"
_GREETING = "Hi"
_LONG_QUESTION = f"{_QUESTION} Tell me everything that you know about it."
_RESULTS = Path(__file__).parent / "results"
_BARE = """
import json, sys, time
import mlxknife
from mlxknife.adapters.mlx.runtime import cpu
from mlxknife.domain.catalog.services.runnable import find_runnable

folder = find_runnable(mlxknife.open_app().catalog, "starter").location.token
cpu.limit_threads(folder)
cpu.load_fast_blas()
import mlx.core as mx
from mlx_lm import stream_generate
from mlx_lm.sample_utils import make_sampler
from mlx_lm.utils import load_model, load_tokenizer
from pathlib import Path

model, _ = load_model(Path(folder), lazy=True)
cpu.widen(model, dequantize=True)
mx.eval(model.parameters())
tokenizer = load_tokenizer(Path(folder))


def tokens_of(text):
    return list(tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True))


def times_of(text, count):
    steps = stream_generate(model, tokenizer, tokens_of(text), max_tokens=count, sampler=make_sampler(0.0))
    return [time.perf_counter() for _ in steps]
"""
"""Loads the starter with mlx-lm alone, in the form and with the BLAS of our model process."""
_DECODE = (
    _BARE
    + """
rounds, count, question, short = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
greedy = mlxknife.SamplingParameters(temperature=0.0, repetition_penalty=1.0)
options = mlxknife.GenerationOptions(sampling=greedy, max_tokens=count)
found = {"ours": [], "bare": [], "prefill": []}
with mlxknife.open_app().sessions.open("starter") as session:
    for turn in range(rounds + 1):
        text = f"{turn}. {short}"  # a new start, so that the prefix cache has nothing of it
        one = session.ask(text, mlxknife.GenerationOptions(sampling=greedy, max_tokens=1))
        result = session.ask(question, options)
        spent = result.timings.total - result.timings.first_token
        times = times_of(question, count)
        if turn:
            found["ours"].append((result.usage.completion_tokens - 1) / spent)
            found["bare"].append((len(times) - 1) / (times[-1] - times[0]))
            new = one.usage.prompt_tokens - one.usage.cached_tokens
            found["prefill"].append(new / one.timings.first_token)
print(json.dumps(found | {"prompt_tokens": one.usage.prompt_tokens, "answer_tokens": len(times)}))
"""
)
_LOAD = (
    _BARE
    + """
print("there", flush=True)
"""
)
_READ = (
    _BARE
    + """
times_of(sys.argv[1], 1)
print("there", flush=True)
"""
)
_CHAT = """
import json
import mlxknife
from mlxknife.domain.catalog.services.runnable import find_runnable
from mlxknife.domain.generation.values.answer import Delta, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.wiring.worker import TextEngineOpener

questions = (
    "What is the capital of France?", "And of Spain?", "Name a river there.", "How long is it?", "What is 2+2?",
    "Tell me a joke.", "Why is it funny?", "Name a colour.", "Name another one.", "What was my first question?",
)
options = mlxknife.GenerationOptions(sampling=mlxknife.SamplingParameters(temperature=0.0), max_tokens=48)
app = mlxknife.open_app()
model = find_runnable(app.catalog, "starter")
engine = TextEngineOpener().open(LoadRequest(model.location, "fast", app.system.memory_available_bytes()))
import mlx.core as mx
from mlx.utils import tree_flatten

messages, before = [], 0
for number, question in enumerate(questions):
    messages.append(mlxknife.Message("user", question))
    request = GenerationRequest(tuple(messages), options=options)
    engine.submit(number, engine.tokenize(request, engine.render(request)))
    answer = ""
    while not engine.is_idle:
        for _, event in engine.step():
            assert isinstance(event, Delta), event
            answer += "".join(text.text for text in event.texts)
            usage = event.usage or None
    messages.append(mlxknife.Message("assistant", answer))
    computed, new = usage.prompt_tokens - usage.cached_tokens, usage.prompt_tokens - before
    before = usage.total_tokens
scheduler = engine._model._scheduler
weights = sum(value.nbytes for _, value in tree_flatten(scheduler._model.parameters()))
needed = weights + scheduler.prefix_bytes
print(json.dumps({"computed": computed, "new": new, "peak": mx.get_peak_memory(), "needed": needed}))
"""
"""Ten turns with the engine in this process, where MLX reports its memory."""


def main() -> None:
    """Pull the starter, time all programs, print and save the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {
            **os.environ,
            "HOME": folder,
            "MLXK_WORKSPACE_HOME": str(home / "workspaces"),
            "MLXK_WHEELS": str(Path(__file__).parent.parent / ".cache" / "wheels"),
        }
        _output([sys.executable, "-m", "mlxknife", "pull", "starter"], environment)
        decode = json.loads(
            _output([sys.executable, "-c", _DECODE, str(_ROUNDS), str(_TOKENS), _LONG_QUESTION, _QUESTION], environment)
        )
        starts: dict[str, list[float]] = {"run": [], "load": [], "load and read": []}
        for _ in range(_ROUNDS):
            starts["load"].append(_first_byte([sys.executable, "-c", _LOAD], environment))
            ask = [sys.executable, "-m", "mlxknife", "run", "starter", _GREETING, "--max-tokens", "1"]
            starts["run"].append(_first_byte(ask, environment))
            read = [sys.executable, "-c", _READ, _GREETING]
            starts["load and read"].append(_first_byte(read, environment))
        chat = json.loads(_output([sys.executable, "-c", _CHAT], environment))
        began = time.perf_counter()
        options = ["--model", str(home / "workspaces" / "starter"), "--prompt", _QUESTION]
        output = _output(
            [sys.executable, "-m", "mlx_lm", "generate", *options, "--max-tokens", str(_PEER_TOKENS)], environment
        )
        peer_seconds = time.perf_counter() - began
    peer = {
        what: float(found[1])
        for what in ("Prompt", "Generation")
        if (found := re.search(rf"{what}: \d+ tokens, ([\d.]+) tokens-per-sec", output))
    }
    _report(decode, peer, peer_seconds, starts, chat)


def _first_byte(command: list[str], environment: dict[str, str]) -> float:
    """Return the seconds from the start of a process to the first byte of its output."""
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for mypy
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.stdout.read()
    return seconds


def _output(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _report(
    decode: dict[str, list[float]],
    peer: dict[str, float],
    peer_seconds: float,
    starts: dict[str, list[float]],
    chat: dict[str, int],
) -> None:
    ours, bare, prefill = (statistics.median(decode[name]) for name in ("ours", "bare", "prefill"))
    rows = (
        ("decode, against bare stream_generate, tokens/s", ours, bare, 0.97),
        (
            "decode, against mlx_lm.generate, tokens/s",
            ours,
            peer["Generation"],
            50,
        ),
        (
            "prefill, against mlx_lm.generate, tokens/s",
            prefill,
            peer["Prompt"],
            300,
        ),
    )
    costs = (
        (
            "time to first byte, against loading only, s",
            statistics.median(starts["run"]),
            statistics.median(starts["run"]) / _paired(starts["run"], starts["load"]),
            1.15,
        ),
        (
            "time to first byte, against loading and prefill, s",
            statistics.median(starts["run"]),
            statistics.median(starts["run"]) / _paired(starts["run"], starts["load and read"]),
            1.15,
        ),
        ("turn 10 of a chat: tokens computed, against new tokens", chat["computed"], chat["new"], 1.0),
        ("peak memory, against weights and cache, MiB", chat["peak"] / _MIB, chat["needed"] / _MIB, 1.1),
    )
    lines = ["| what | ours | peer | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {mine:.1f} | {theirs:.2f} | {mine / theirs:.2f} | >= {target} | {_met(mine / theirs >= target)} |"
        for name, mine, theirs, target in rows
    ]
    lines += [
        f"| {name} | {mine:.1f} | {theirs:.2f} | {mine / theirs:.2f} | <= {target} | {_met(mine / theirs <= target)} |"
        for name, mine, theirs, target in costs
    ]
    table = "\n".join(lines)
    print(table)
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": {name: version(name) for name in ("mlx", "mlx-lm", "faiss-cpu")},
        "tokens_per_second": decode,
        "seconds_to_first_byte": starts,
        "chat": chat,
        "peer": {**peer, "seconds": round(peer_seconds, 1)},
    }
    name = f"run-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# Run\n\n{found['machine']}, Python {found['python']}\n\n{table}\n")


def _paired(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def _met(is_met: bool) -> str:  # noqa: FBT001 - its only argument
    return "yes" if is_met else "no"


if __name__ == "__main__":
    main()
