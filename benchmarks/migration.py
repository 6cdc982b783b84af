"""Compares the JSON of ``list``, ``show`` and ``health`` with that of mlx-knife 2.0.8, for one cache of many shapes.

Run it with ``make migration``. Each difference must be covered by a rule of MIGRATION.md; others end it with 1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migration_rules import MISSING, RULES, Difference, rule_of
from processes import log, make_environment, timed_environment, versions

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from tests.adapters.damages import DAMAGES, Damage  # noqa: E402 - the repository is not on the path before
from tests.adapters.test_real_repos import REPOS  # noqa: E402
from tests.builder import CacheBuilder, Files, chat_files, embedding_files, write_workspace  # noqa: E402

_PEER = ("mlx-knife==2.0.8", *(("mlx[cpu]",) if sys.platform == "linux" else ()))
_RESULTS = _ROOT / "benchmarks" / "results"
_FATAL = (
    "dangling weight link",
    "link loop",
    "config not UTF-8",
    "config a list",
    "index a list",
    "map of numbers",
    "map of lists",
    "file for snapshots",
    "file for blobs",
    "needed blob unfinished",
    "needed blob unfinished by one process",
)
"""The damages with which the peer lists nothing at all. They are in a cache of their own."""
_DRIVER = """
import contextlib, io, json, sys
from importlib import import_module
main, answers = import_module(sys.argv[1]).main, []
for words in json.load(sys.stdin):
    sys.argv, text, code = ["mlxk", *words], io.StringIO(), 0
    with contextlib.redirect_stdout(text):
        try:
            code = main()
        except SystemExit as exc:
            code = exc.code
    answers.append([code, json.loads(text.getvalue())])
json.dump(answers, sys.stdout)
"""
"""Runs many commands in one process, because the peer takes seconds to start."""


@dataclass(frozen=True)
class Cache:
    """A cache with its shapes: the name of each, and its files."""

    home: Path
    shapes: Mapping[str, Files]

    @property
    def commands(self) -> list[list[str]]:
        """Return the commands to compare."""
        return [["list", "--json"], ["health", "--json"], *(["show", name, "--json"] for name in self.shapes)]


def main() -> int:
    """Compare the documents, print and save the table; return 1 if a difference has no rule."""
    peer = make_environment(_ROOT / ".bench" / "peer", _PEER)
    found: list[tuple[Difference, str | None]] = []
    with tempfile.TemporaryDirectory(prefix="mlxk-migration-") as folder:
        caches = list(_caches(Path(folder)))
        for cache in caches:
            theirs = _documents(peer / "python", "mlxk2.cli", cache)
            ours = _documents(Path(sys.executable), "mlxknife.__main__", cache)
            found += [(difference, rule_of(difference)) for difference in _differences(cache, theirs, ours)]
    shapes = sum(len(cache.shapes) for cache in caches)
    _report(found, shapes, peer)
    return 1 if any(rule is None for _, rule in found) else 0


def _caches(folder: Path) -> Iterator[Cache]:
    """Make a cache of real repos, harmless damages and workspaces, and one of damages that stop the peer."""
    home = folder / "shapes"
    shapes: dict[str, Files] = {}
    for repo in REPOS:
        CacheBuilder(home / "hub").model(repo.name, repo.files)
        shapes[repo.name] = repo.files
    for damage in DAMAGES:
        if damage.label not in _FATAL:
            shapes[_damaged(home, damage)] = damage.files()
    bare = {name: data for name, data in chat_files().items() if "token" not in name}
    CacheBuilder(home / "hub").model("org/without-any-tokenizer", bare)
    shapes["org/without-any-tokenizer"] = bare
    for name, files in (("my-experiment", None), ("my-embedder", embedding_files())):
        write_workspace(home / "workspaces" / name, files)
        shapes[name] = files or {}
    yield _prepared(Cache(home, shapes))
    home = folder / "fatal"
    fatal = {_damaged(home, damage): damage.files() for damage in DAMAGES if damage.label in _FATAL}
    CacheBuilder(home / "hub").model("org/sound")
    yield _prepared(Cache(home, fatal | {"org/sound": {}}))


def _prepared(cache: Cache) -> Cache:
    for name in ("empty", "workspaces"):
        (cache.home / name).mkdir(exist_ok=True)
    return cache


def _damaged(home: Path, damage: Damage) -> str:
    """Make a damaged model and return its name. Some damages move a folder aside, out of the cache."""
    name = f"damage/{damage.label.replace(' ', '-').replace('^', '')}"
    aside = home / "aside"
    model = CacheBuilder(aside).model(name, damage.files())
    damage.harm(model)
    (home / "hub").mkdir(exist_ok=True)
    os.rename(model.repo, home / "hub" / model.repo.name)
    shutil.rmtree(aside)
    return name


def _documents(python: Path, module: str, cache: Cache) -> list[tuple[int, dict[str, Any]]]:
    log(f"{module}: {len(cache.commands)} commands for {len(cache.shapes)} shapes")
    environment = timed_environment(cache.home) | {"MLXK_WORKSPACE_HOME": str(cache.home / "workspaces")}
    done = subprocess.run(
        [str(python), "-c", _DRIVER, module],
        env=environment,
        input=json.dumps(cache.commands),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"comparison stopped: {module} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return [(code or 0, document) for code, document in json.loads(done.stdout)]


def _differences(
    cache: Cache, theirs: Sequence[tuple[int, dict[str, Any]]], ours: Sequence[tuple[int, dict[str, Any]]]
) -> Iterator[Difference]:
    for words, (their_code, their_document), (our_code, our_document) in zip(cache.commands, theirs, ours, strict=True):
        command, shape = words[0], words[1] if command_has_name(words) else ""
        if their_document["error"] is not None or our_document["error"] is not None:
            their_error, our_error = (
                (document["error"] or {}).get("type") for document in (their_document, our_document)
            )
            yield Difference(command, shape, "error.type", their_error, our_error, {}, {})
        elif their_code != our_code:
            yield Difference(command, shape, "exit code", their_code, our_code, {}, {})
        elif command == "show":
            yield from _shown(cache, shape, their_document["data"], our_document["data"])
        else:
            yield from _listed(cache, command, their_document["data"], our_document["data"])


def command_has_name(words: Sequence[str]) -> bool:
    """Return whether a command names a shape."""
    return not words[1].startswith("-")


def _shown(cache: Cache, shape: str, theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[Difference]:
    models = theirs.pop("model"), ours.pop("model")
    yield from _compared("show", shape, _flat(theirs), _flat(ours), *models)
    yield from _compared("show", shape, *models, *(model | {"files": cache.shapes[shape]} for model in models))


def _listed(cache: Cache, command: str, theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[Difference]:
    their_models, our_models = (_by_shape(data, cache.shapes) for data in (theirs, ours))
    for shape in cache.shapes:
        models = [found.get(shape, {"name": MISSING}) for found in (their_models, our_models)]
        known = [model | {"files": cache.shapes[shape]} for model in models]
        yield from _compared(command, shape, models[0], models[1], known[0], known[1])
    their_rest, our_rest = (
        {key: value for key, value in data.items() if key not in ("models", "healthy", "unhealthy", "summary")}
        for data in (theirs, ours)
    )
    yield from _compared(command, "", their_rest, our_rest, {}, {})


def _by_shape(data: Mapping[str, Any], shapes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of the models; the peer names a workspace by its absolute path."""
    entries = data["models"] if "models" in data else [*data["healthy"], *data["unhealthy"]]
    names = {entry["name"]: entry for entry in entries}
    return {
        shape: names[name]
        for shape in shapes
        for name in (shape, *(name for name in names if name.startswith("/") and name.endswith(f"/{shape}")))
        if name in names
    }


def _compared(
    command: str,
    shape: str,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    their_model: Mapping[str, Any],
    our_model: Mapping[str, Any],
) -> Iterator[Difference]:
    for key in sorted({*theirs, *ours}):
        values = theirs.get(key, MISSING), ours.get(key, MISSING)
        if values[0] != values[1]:
            yield Difference(command, shape, key, *values, their_model, our_model)


def _flat(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the values of nested objects by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) and value else {f"{before}{key}": value}
    return found


def _report(found: Sequence[tuple[Difference, str | None]], shapes: int, peer: Path) -> None:
    counts = Counter(rule for _, rule in found)
    rows = [(rule, counts[rule], _example(rule, found)) for rule in RULES if counts[rule]]
    lines = ["| rule | differences | example |", "| --- | ---: | --- |"]
    lines += [f"| {rule} | {count} | {example} |" for rule, count, example in rows]
    table = "\n".join(lines)
    print(table)
    for difference, rule in found:
        if rule is None:
            print(f"NO RULE: {_words(difference)}", file=sys.stderr)
    print(f"{shapes} shapes, {len(found)} differences, {counts[None]} without a rule")
    if not counts[None]:
        _save(table, shapes, counts, peer)


def _example(rule: str, found: Iterable[tuple[Difference, str | None]]) -> str:
    return next(_words(difference) for difference, of in found if of == rule).replace("|", "\\|")


def _words(found: Difference) -> str:
    theirs, ours = (re.sub(r"/\S*/mlxk-migration-\w+", "...", str(value))[:60] for value in (found.theirs, found.ours))
    return f"`{found.command} {found.shape}` {found.key}: {theirs} → {ours}"


def _save(table: str, shapes: int, counts: Counter[str | None], peer: Path) -> None:
    day = time.strftime("%Y-%m-%d")
    name = f"migration-{sys.platform}-{day}"
    found = {
        "Ours": versions(Path(sys.executable), ("mlxknife", "mlx-lm")),
        "Peer": versions(peer / "python", ("mlx-knife", "mlx-lm", "mlx-vlm")),
    }
    document = {
        "date": day,
        "shapes": shapes,
        "differences": {rule: counts[rule] for rule in RULES if counts[rule]},
        "versions": found,
    }
    text = [
        f"# The JSON of list, show and health beside mlx-knife 2.0.8, {day}",
        f"{shapes} shapes of models. Every difference is covered by a rule of [MIGRATION.md](../../MIGRATION.md).",
        table,
        *(f"{who}: {', '.join(f'{name} {version}' for name, version in of.items())}." for who, of in found.items()),
    ]
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (_RESULTS / f"{name}.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    log(f"saved as benchmarks/results/{name}.json and .md")


if __name__ == "__main__":
    sys.exit(main())
