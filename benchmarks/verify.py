"""``health --verify`` against ``sha256sum``: the hash rate of eight files in the page cache, and the memory.

Whole processes hash the same bytes in turns. ``sha256sum`` runs once per processor, each on its share of the files, so
its rate is that of all processors. The time of ``mlxk health`` without ``--verify`` is subtracted from ours, because it
is start-up and not hashing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

_FILES = 8
_MIB = 1024 * 1024
_SIZE = 256 * _MIB
_RUNS = 7
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Create the files, time both programs, print and save the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        blobs = _make_model(home)
        _hash(blobs)  # loads them into the page cache
        ours = [sys.executable, "-m", "mlxknife", "health", "--json"]
        samples: dict[str, list[float]] = {"verify": [], "start": [], "sha256sum": []}
        for _ in range(_RUNS):
            samples["verify"].append(_timed([*ours, "--verify"], home))
            samples["start"].append(_timed(ours, home))
            samples["sha256sum"].append(_hash(blobs))
        memory = {option: _memory([*ours, *option.split()], home) for option in ("", "--verify")}
    _report(samples, memory)


def _make_model(home: Path) -> list[Path]:
    """Write a model of eight shards whose blobs are named by their SHA-256."""
    repo = home / "hub" / "models--bench--verify"
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    blobs = []
    for number in range(1, _FILES + 1):
        header = json.dumps({f"w{number}": {"dtype": "U8", "shape": [_SIZE], "data_offsets": [0, _SIZE]}}).encode()
        data = len(header).to_bytes(8, "little") + header + os.urandom(_MIB) * (_SIZE // _MIB)
        blobs.append(repo / "blobs" / hashlib.sha256(data).hexdigest())
        blobs[-1].write_bytes(data)
        name = f"model-{number:05d}-of-{_FILES:05d}.safetensors"
        (snapshot / name).symlink_to(f"../../blobs/{blobs[-1].name}")
    for name, content in (("config.json", '{"model_type": "llama"}'), ("tokenizer.json", '{"model": {}}')):
        (snapshot / name).write_text(content)
    return blobs


def _hash(blobs: list[Path]) -> float:
    """Return the seconds of ``sha256sum`` over the files, one process for every processor."""
    processors = os.cpu_count() or 1
    program = shutil.which("sha256sum") or "sha256sum"
    started = time.perf_counter()
    running = [
        subprocess.Popen([program, *map(str, blobs[share::processors])], stdout=subprocess.DEVNULL)
        for share in range(processors)
    ]
    for process in running:
        process.wait()
    return time.perf_counter() - started


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home)}


def _timed(command: list[str], home: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=_environment(home), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _memory(command: list[str], home: Path) -> float:
    """Return the peak resident memory of a process in MiB."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], env=_environment(home), check=True, capture_output=True, text=True
    )
    return int(done.stdout) / (_MIB if sys.platform == "darwin" else 1024)


def _report(samples: dict[str, list[float]], memory: dict[str, float]) -> None:
    medians = {name: statistics.median(seconds) for name, seconds in samples.items()}
    total = _FILES * _SIZE / _MIB
    hashing = medians["verify"] - medians["start"]
    ours, theirs = total / hashing, total / medians["sha256sum"]
    grown = memory["--verify"] - memory[""]
    rows = (
        (
            "rate over 8 files, MiB/s",
            f"{ours:.0f}",
            f"{theirs:.0f}",
            f"{ours / theirs:.2f}",
            ">= 0.90",
            ours >= 0.9 * theirs,
        ),
        ("memory beyond the same without --verify, MiB", f"{grown:.1f}", "", "", "<= 64", grown <= 64),  # noqa: PLR2004
    )
    lines = ["| what | ours | sha256sum x processors | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row[:5])} | {'yes' if row[5] else 'no'} |" for row in rows]
    table = "\n".join(lines)
    print(table)
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "openssl": ssl.OPENSSL_VERSION,
        "seconds": {name: [round(second, 3) for second in sorted(values)] for name, values in samples.items()},
    }
    name = f"verify-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# Verification\n\n{found['machine']}, Python {found['python']}\n\n{table}\n")


if __name__ == "__main__":
    main()
