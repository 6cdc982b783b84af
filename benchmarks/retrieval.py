"""Retrieval: the time of a search in 100,000 chunks, and the rate of ``index`` beside the embedder alone.

Each search runs in a process of its own, whose imports are done: the time is from opening the file to the hits and
their texts. The vectors have 384 dimensions, and the texts 30 words. The rate of ``index`` is that of 10,000 chunks of
one sentence with the starter embedder, from the files to the index on the disk; the embedder alone gets the same
texts in requests, in turns. ``MLXK_BENCH_CHUNKS`` sets another number for the rate.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from random import Random

import numpy as np

import mlxknife
from mlxknife.adapters.sqlite_index.store import SqliteIndexes
from mlxknife.domain.retrieval.rules import chunking
from mlxknife.domain.retrieval.values import Chunk, Document, IndexedDocument, IndexModel

_RESULTS = Path(__file__).parent / "results"
_WHEELS = Path(__file__).resolve().parent.parent / ".cache" / "wheels"
_ROUNDS = int(os.environ.get("MLXK_BENCH_ROUNDS", "7"))
_CHUNKS = int(os.environ.get("MLXK_BENCH_CHUNKS", "10000"))
_TURNS = 10
_STORED, _DIMENSIONS, _BATCH = 100_000, 384, 1000
_WORDS = [f"{first}{middle}{last}" for first in "bdfgklmnprst" for middle in "aeiou" for last in "lmnrstkdpbgf"]
_TARGET_MS, _TARGET_RATE, _TARGET_MB = 50.0, 0.9, 20.0
_PACKAGES = ("pathspec", "pypdf")
_SEARCH = """
import json, sys, time
import numpy as np
from mlxknife.adapters.sqlite_index.store import SqliteIndexes
path, match = sys.argv[1], sys.argv[2] or None
vector = np.random.default_rng().standard_normal({dimensions}).astype(np.float32)
vector = (vector / np.linalg.norm(vector)).tolist()
began = time.perf_counter()
index = SqliteIndexes().open(path)
found = index.search(vector if sys.argv[3] else None, match, 50)
print((time.perf_counter() - began) * 1000, len(found.nearest), len(found.matching))
"""


def main() -> int:
    """Measure, print and store the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_searches(Path(folder)), _rate(Path(folder)), _size()]
    _store(rows)
    return 0


def _searches(folder: Path) -> Iterator[Mapping[str, object]]:
    path = folder / "search.index"
    _fill(path)
    words = " OR ".join(f'"{word}"' for word in _WORDS[100:103])
    for name, match, vector in (("vectors", "", "1"), ("words", words, ""), ("both", words, "1")):
        code = _SEARCH.format(dimensions=_DIMENSIONS)
        taken = [
            float(subprocess.check_output([sys.executable, "-c", code, path, match, vector], text=True).split()[0])
            for _ in range(_ROUNDS)
        ]
        median = statistics.median(taken)
        is_ok = name != "vectors" or median <= _TARGET_MS
        target = f"<= {_TARGET_MS:.0f} ms" if name == "vectors" else ""
        figure = f"{median:.1f} ms (fastest {min(taken):.1f}, slowest {max(taken):.1f})"
        yield _row(f"search of {_STORED} chunks by {name}", figure, target, is_ok=is_ok)


def _fill(path: Path) -> None:
    chance, words = np.random.default_rng(0), Random(0)  # noqa: S311 - the same texts each time
    probe = (1.0, *[0.0] * (_DIMENSIONS - 1))
    index = SqliteIndexes().open(str(path), IndexModel("bench", None, _DIMENSIONS, (probe, probe)))
    for number in range(0, _STORED, _BATCH):
        vectors = chance.standard_normal((_BATCH, _DIMENSIONS), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        chunks = tuple(Chunk(line, line, " ".join(words.choices(_WORDS, k=30))) for line in range(1, _BATCH + 1))
        index.replace([IndexedDocument(f"/{number}", b"", chunks, tuple(vectors))])
    index.close()


def _rate(folder: Path) -> Mapping[str, object]:
    """Measure ``index`` and the embedder alone in turns, each of one part of the chunks."""
    os.environ["MLXK_WHEELS"] = str(_WHEELS)
    app = mlxknife.open_app(hub_cache=folder / "hub", workspace_home=folder / "home")
    app.starter_puller.execute(app.starter_puller.plan("starter-embed"))
    alone = whole = 0.0
    path = str(folder / "rate.index")
    with (
        app.embedders.open("starter-embed") as embedder,
        app.indexes.open(path, model="starter-embed", is_created=True) as index,
    ):
        for turn in range(_TURNS):
            documents = _write(folder / f"docs{turn}", turn)
            texts = [chunking.titled_text(chunk) for document in documents for chunk in chunking.chunks(document)]
            began = time.perf_counter()
            for _ in embedder.embed(texts):
                pass
            between = time.perf_counter()
            index.update([str(folder / f"docs{turn}")])
            alone, whole = alone + between - began, whole + time.perf_counter() - between
        count = index.info().chunks
    figure = f"{alone / whole:.3f} ({count / whole:.0f} a second, the embedder alone {count / alone:.0f})"
    name = f"index of {count} chunks: rate, of the embedder alone"
    return _row(name, figure, f">= {_TARGET_RATE}", is_ok=alone / whole >= _TARGET_RATE)


def _write(folder: Path, seed: int) -> list[Document]:
    chance, documents = Random(seed), list[Document]()  # noqa: S311 - the same texts each time
    folder.mkdir()
    for number in range(_CHUNKS // _TURNS // 20):
        text = "".join(f"# {line}\n\n{' '.join(chance.choices(_WORDS, k=8))}.\n\n" for line in range(20))
        path = folder / f"{number:05}.md"
        path.write_text(text)
        documents.append(Document(str(path), b"", text))
    return documents


def _size() -> Mapping[str, object]:
    """Add up the packages that only retrieval needs."""
    sizes = {name: size for name in _PACKAGES if (size := _installed(name))}
    total = sum(sizes.values()) / 1e6
    figure = f"{total:.1f} MB ({', '.join(f'{name} {size / 1e6:.1f}' for name, size in sizes.items())})"
    return _row(
        "packages beyond the base, pypdf included", figure, f"<= {_TARGET_MB:.0f} MB", is_ok=total <= _TARGET_MB
    )


def _installed(name: str) -> int:
    try:
        return sum(file.size or 0 for file in files(name) or ())
    except PackageNotFoundError:
        return 0


def _row(name: str, figure: str, target: str, *, is_ok: bool) -> Mapping[str, object]:
    print(f"{name}: {figure} {target} {'' if is_ok else 'MISSED'}", flush=True)
    return {"what": name, "figure": figure, "target": target, "ok": is_ok}


def _store(rows: list[Mapping[str, object]]) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    machine = {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }
    name = f"retrieval-{platform.system().lower()}-{platform.machine()}-{today}"
    (_RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    lines = ["| what | figure | target | met |", "|---|---|---|---|"]
    lines += [f"| {row['what']} | {row['figure']} | {row['target']} | {'yes' if row['ok'] else 'no'} |" for row in rows]
    lines += ["", __doc__ or "", f"{json.dumps(machine)}"]
    (_RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
