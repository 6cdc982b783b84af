"""``run`` against mlx-lm: how fast tokens come, and what the start costs.

Decoding: our engine against a bare ``mlx_lm.stream_generate`` with the same weights, in the same form, in one process,
in turns; it also tells the rate of prefill of the model as we load it. The peer as people install it is
``mlx_lm.generate`` on the same four-bit folder, whose half-precision scales MLX's CPU backend emulates; so it gets few
tokens, and one run.
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
_QUESTION = "What is the capital of France? Tell me everything that you know about it."
_RESULTS = Path(__file__).parent / "results"
_DECODE = """
import json, sys
import mlxknife
from mlxknife.domain.model.generation import Sampling, Wish
from mlxknife.domain.rules import prompts

rounds, count, question = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
app = mlxknife.open_app()
found = {"ours": [], "bare": [], "prefill": []}
with app.chat.open("starter") as session:
    from mlx_lm import stream_generate
    from mlx_lm.sample_utils import make_sampler

    model, tokenizer = session.model._models[0], session.model._tokenizer
    turns = prompts.assembled((question,))
    rendered = session.templates.render(session.model.chat_template, turns, session.model.special_tokens)
    tokens = session.model.tokens(rendered, is_rendered=True)
    wish = Wish(sampling=Sampling(temperature=0.0, repetition_penalty=1.0), max_tokens=count)
    for turn in range(rounds + 1):
        session.model._memory.forget()
        outcome = session.ask(question, wish)
        spent = outcome.timings.total - outcome.timings.first_token
        last = None
        for last in stream_generate(model, tokenizer, list(tokens), max_tokens=count, sampler=make_sampler(0.0)):
            pass
        if turn:
            found["ours"].append((outcome.usage.completion_tokens - 1) / spent)
            found["bare"].append(last.generation_tps)
            found["prefill"].append(last.prompt_tps)
print(json.dumps(found))
"""


def main() -> None:
    """Bring the starter, time, print and save."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        surroundings = {
            **os.environ,
            "HOME": folder,
            "MLXK_WORKSPACE_HOME": str(home / "workspaces"),
            "MLXK_WHEELS": str(Path(__file__).parent.parent / ".cache" / "wheels"),
        }
        _output([sys.executable, "-m", "mlxknife", "pull", "starter"], surroundings)
        decode = json.loads(
            _output([sys.executable, "-c", _DECODE, str(_ROUNDS), str(_TOKENS), _QUESTION], surroundings)
        )
        began = time.perf_counter()
        words = ["--model", str(home / "workspaces" / "starter"), "--prompt", _QUESTION]
        said = _output(
            [sys.executable, "-m", "mlx_lm", "generate", *words, "--max-tokens", str(_PEER_TOKENS)], surroundings
        )
        peer_seconds = time.perf_counter() - began
    peer = {
        what: float(found[1])
        for what in ("Prompt", "Generation")
        if (found := re.search(rf"{what}: \d+ tokens, ([\d.]+) tokens-per-sec", said))
    }
    _report(decode, peer, peer_seconds)


def _output(command: list[str], surroundings: dict[str, str]) -> str:
    return subprocess.run(command, env=surroundings, check=True, stdout=subprocess.PIPE, text=True).stdout


def _report(decode: dict[str, list[float]], peer: dict[str, float], peer_seconds: float) -> None:
    ours, bare, prefill = (statistics.median(decode[name]) for name in ("ours", "bare", "prefill"))
    rows = (
        ("decode, against bare stream_generate, tokens/s", ours, bare, ours / bare, 0.97),
        (
            "decode, against mlx_lm.generate, tokens/s",
            ours,
            peer["Generation"],
            ours / peer["Generation"],
            50,
        ),
        (
            "prefill, against mlx_lm.generate, tokens/s",
            prefill,
            peer["Prompt"],
            prefill / peer["Prompt"],
            300,
        ),
    )
    lines = ["| what | ours | peer | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {mine:.1f} | {theirs:.2f} | {ratio:.2f} | >= {goal} | {'yes' if ratio >= goal else 'no'} |"
        for name, mine, theirs, ratio, goal in rows
    ]
    table = "\n".join(lines)
    print(table)
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": {name: version(name) for name in ("mlx", "mlx-lm", "faiss-cpu")},
        "tokens_per_second": decode,
        "peer": {**peer, "seconds": round(peer_seconds, 1)},
    }
    name = f"run-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# Run\n\n{found['machine']}, Python {found['python']}\n\n{table}\n")


if __name__ == "__main__":
    main()
