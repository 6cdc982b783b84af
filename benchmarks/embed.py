"""``embed`` against sentence-transformers on torch: the same model, texts and processors, in turns.

Rates: 24 short texts, and 256 of mixed length, by loaded models. Start: from the start of a process to the first
vector.
The first run installs the peer, 6 GB with what torch brings, into ``.bench/embed``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import mlxknife

_ROOT = Path(__file__).parents[1]
_PEER = _ROOT / ".bench" / "embed"
_RESULTS = Path(__file__).parent / "results"
_ROUNDS = 7
_MODEL = "starter-embed"
_WORDS = (
    "the model reads a text and returns numbers that stand for its meaning while rain falls on northern harbours "
    "and engineers measure voltage across copper wires before the evening train leaves"
).split()
_LOOP = """
for line in sys.stdin:
    texts = json.loads(line)
    began = time.perf_counter()
    embed(texts)
    print(time.perf_counter() - began, flush=True)
"""
_OURS = f"""
import json, sys, time
import mlxknife
embedder = mlxknife.open_app().embedders.open("{_MODEL}")
def embed(texts):
    return list(embedder.embed(texts))
{_LOOP}"""
_TORCH = f"""
import json, sys, time
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
def embed(texts):
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
{_LOOP}"""


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    rounds: int = parser.parse_args().rounds
    peer = _peer()
    folder = _folder()
    ours, torch = [sys.executable, "-c", _OURS], [str(peer), "-c", _TORCH, folder]
    chance = random.Random(1)  # noqa: S311 - the same texts each time
    sets = {
        "24 short texts": [_text(chance, chance.randint(6, 12)) for _ in range(24)],
        "256 mixed texts": [_text(chance, chance.choice((5, 10, 20, 40, 80, 150))) for _ in range(256)],
    }
    rows = _rates(ours, torch, sets, rounds)
    rows["start to the first vector"] = _starts(ours, torch, rounds)
    _save(rows, peer, rounds)


def _text(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(count))


def _peer() -> Path:
    """Return the Python of the peer's environment."""
    python = _PEER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_PEER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "sentence-transformers"], check=True)
    return python


def _folder() -> str:
    """Return the folder of the model; ``mlxk pull starter-embed`` makes it."""
    info = mlxknife.open_app().catalog.show(_MODEL).info
    home = os.environ.get("MLXK_WORKSPACE_HOME")
    return str(Path(home) / _MODEL) if home else info.name


def _rates(
    ours: list[str], torch: list[str], sets: dict[str, list[str]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of both for each set of texts, in turns; the first turn warms up."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sets}
    with _process(ours) as one, _process(torch) as other:
        for turn in range(rounds + 1):
            for name, texts in sets.items():
                pair = _asked(one, texts), _asked(other, texts)
                if turn:
                    found[name].append(pair)
    return found


def _starts(ours: list[str], torch: list[str], rounds: int) -> list[tuple[float, float]]:
    def seconds(command: list[str]) -> float:
        began = time.perf_counter()
        with _process(command) as process:
            _asked(process, ["a text"])
            return time.perf_counter() - began

    return [(seconds(ours), seconds(torch)) for _ in range(rounds + 1)][1:]


def _process(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _asked(process: subprocess.Popen[str], texts: list[str]) -> float:
    assert process.stdin is not None  # noqa: S101 - it has pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(json.dumps(texts) + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _save(rows: dict[str, list[tuple[float, float]]], peer: Path, rounds: int) -> None:
    ask = "from importlib.metadata import version; print(version('sentence-transformers'), version('torch'))"
    found = subprocess.run([str(peer), "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    versions = dict(zip(("sentence-transformers", "torch"), found, strict=True)) | {"numpy": version("numpy")}
    day = time.strftime("%Y-%m-%d")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    lines = ["| what | ours | sentence-transformers | speed, ours to theirs |", "|---|---|---|---|"]
    for name, pairs in rows.items():
        one, other = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
        ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
        lines.append(f"| {name} | {one:.3f} s | {other:.3f} s | {ratio:.2f} x |")
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    load = f"load average {os.getloadavg()[0]:.1f}"
    notes = f"{machine}, {load} at the end; medians of {rounds} rounds in turns; {listed}; all-MiniLM-L6-v2."
    text = f"# Embeddings against sentence-transformers, {day}\n\n" + "\n".join(lines) + f"\n\n{notes}\n"
    print(text)
    name = f"embed-{platform.system().lower()}-{platform.machine()}-{day}"
    document = {"date": day, "machine": machine, "load": os.getloadavg(), "versions": versions, "seconds": rows}
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (_RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
