"""``pull`` against ``hf download``: whole processes that download the same model from a fake Hub on loopback, in turns.

Each run gets an empty cache. Ours hashes every byte, syncs it to the disk and publishes the snapshot in one step; the
peer does none of that. The fake Hub sends small files itself and redirects large ones to its CDN. Both programs use the
same huggingface_hub, without Xet.

The peer of a second pull, when all files exist, is a process that imports huggingface_hub and requests the same
metadata. The time of the requests themselves is subtracted from both.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_KIB, _MIB = 1024, 1024 * 1024
_SIZES = (_KIB, 4 * _KIB, 64 * _KIB, _MIB, 16 * _MIB, 64 * _MIB, 128 * _MIB, 512 * _MIB)
_RUNS = 7
_SECOND_PULLS = 3
"""Second pulls in each run: they are short, and one value varies too much."""
_RESULTS = Path(__file__).parent / "results"
_PROGRAMS = Path(sys.executable).parent
_MODEL = "bench/pull"
_SMALL = "bench/small"
_SINGLE_FILES = {"bench/1-mib": _MIB, "bench/512-mib": 512 * _MIB}
"""Models of one file, which show whether the memory grows with its size."""
_METADATA = """
import sys, time
from huggingface_hub import HfApi
api = HfApi(endpoint=sys.argv[1])
api.model_info(sys.argv[2])
started = time.perf_counter()
list(api.list_repo_tree(sys.argv[2], revision=api.model_info(sys.argv[2]).sha, recursive=True))
print(time.perf_counter() - started)
"""


def main() -> None:
    """Create the files, time both programs, print and save the table."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _write_model(work / "hub" / _MODEL, _SIZES)
        _write_model(work / "hub" / _SMALL, [_KIB] * len(_SIZES))
        for name, size in _SINGLE_FILES.items():
            _write_model(work / "hub" / name, [size])
        with _hub(work / "hub") as endpoint:
            ours = [sys.executable, "-m", "mlxknife", "pull", _MODEL, "--json"]
            theirs = [str(_PROGRAMS / "hf"), "download", _MODEL, "--quiet"]
            samples: dict[str, list[float]] = {"pull": [], "hf download": [], "second pull": [], "metadata": []}
            peaks: dict[str, float] = {}
            for _ in range(_RUNS):
                for name, command in (("pull", ours), ("hf download", theirs)):
                    home = work / "home"
                    shutil.rmtree(home, ignore_errors=True)
                    os.sync()
                    seconds, peaks[name] = _run(command, home, endpoint)
                    samples[name].append(seconds)
                    if name == "pull":
                        os.sync()
                        for _ in range(_SECOND_PULLS):
                            seconds, peaks["second pull"] = _run(ours, home, endpoint)
                            samples["second pull"].append(seconds)
                            request_metadata = [sys.executable, "-c", _METADATA, endpoint, _MODEL]
                            seconds, peaks["metadata"] = _run(request_metadata, home, endpoint)
                            samples["metadata"].append(seconds)
            for name in (_SMALL, *_SINGLE_FILES):
                _, peaks[name] = _run([*ours[:-2], name, "--json"], work / "home", endpoint)
            request_metadata = [sys.executable, "-c", _METADATA, endpoint, _MODEL]
            samples["requests"] = [float(_output(request_metadata)) for _ in range(_RUNS)]
    _report(samples, peaks)


def _write_model(folder: Path, sizes: Sequence[int]) -> None:
    folder.mkdir(parents=True)
    block = os.urandom(_MIB)
    for number, size in enumerate(sizes):
        with (folder / f"model-{number:05d}.safetensors").open("wb") as file:
            file.write(number.to_bytes(8, "little"))
            for left in range(size - 8, 0, -_MIB):
                file.write(block[: min(left, _MIB)])
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")


@contextmanager
def _hub(folder: Path) -> Iterator[str]:
    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-m", "tests.fake_hub", str(folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for mypy
        endpoint = process.stdout.readline().strip()
        try:
            yield endpoint
        finally:
            process.terminate()


def _run(command: list[str], home: Path, endpoint: str) -> tuple[float, float]:
    """Return the seconds of a process, and its peak resident memory in MiB."""
    script = (
        "import resource, subprocess, sys, time\n"
        "started = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    seconds, peak = _output([sys.executable, "-c", script, *command], environment).split()
    return float(seconds), int(peak) / (_MIB if sys.platform == "darwin" else _KIB)


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _report(samples: dict[str, list[float]], peaks: dict[str, float]) -> None:
    medians = {name: statistics.median(seconds) for name, seconds in samples.items()}
    total = sum(_SIZES) / _MIB
    ratio = medians["hf download"] / medians["pull"]
    highest, base = max(peaks["pull"], *(peaks[name] for name in _SINGLE_FILES)), peaks[_SMALL]
    large, small = (peaks[name] for name in reversed(_SINGLE_FILES))
    beyond = medians["second pull"] - medians["requests"]
    metadata = medians["metadata"] - medians["requests"]
    rows = (
        (
            f"rate over {len(_SIZES)} files, {total:.0f} MiB, in MiB/s",
            f"{total / medians['pull']:.0f}",
            f"{total / medians['hf download']:.0f}",
            f"{ratio:.2f}",
            ">= 0.90",
            ratio >= 0.9,  # noqa: PLR2004
        ),
        (
            "peak memory minus that of a pull of 8 KiB, MiB",
            f"{highest - base:.1f}",
            "",
            "",
            "<= 64",
            highest - base <= 64,  # noqa: PLR2004
        ),
        (
            "memory for a file of 512 MiB minus that for 1 MiB, MiB",
            f"{large - small:.1f}",
            "",
            "",
            "<= 64",
            large - small <= 64,  # noqa: PLR2004
        ),
        (
            "second pull, whole process minus the metadata requests, s",
            f"{beyond:.3f}",
            f"{metadata:.3f}",
            f"{beyond / metadata:.2f}",
            "< 0.3",
            beyond < 0.3,  # noqa: PLR2004
        ),
    )
    lines = ["| what | ours | peer | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row[:5])} | {'yes' if row[5] else 'no'} |" for row in rows]
    table = "\n".join(lines)
    print(table)
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "huggingface_hub": version("huggingface_hub"),
        "seconds": {name: [round(second, 3) for second in sorted(values)] for name, values in samples.items()},
        "peak_mib": {name: round(peak, 1) for name, peak in peaks.items()},
    }
    name = f"pull-{platform.system().lower()}-{platform.machine()}-{datetime.now(UTC):%Y-%m-%d}"
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (_RESULTS / f"{name}.md").write_text(f"# Pull\n\n{found['machine']}, Python {found['python']}\n\n{table}\n")


if __name__ == "__main__":
    main()
