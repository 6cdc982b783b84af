"""The examples about retrieval work: each block of their page, and the scripts with good and bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import Machine, Outcome
from tests.e2e.test_examples import FENCED, RAG
from tests.embedders import HIDDEN, write_embedder
from tests.parrot import parrot_folder

pytestmark = pytest.mark.timeout(1200)

PREPARATION, *RECIPES = (text for _, text in FENCED.findall((RAG / "README.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("rag"))
    shutil.copytree(parrot_folder(), machine.home / "starter")
    (machine.home / "starter" / "generation_config.json").write_text(json.dumps({"temperature": 0.0}))
    write_embedder(machine.home / "starter-embed")
    write_embedder(machine.home / "other", seed=1)
    return machine


def run(machine: Machine, folder: Path, script: str) -> Outcome:
    environment = machine.environment(OPENBLAS_NUM_THREADS="1", OTHER="other")
    environment["PATH"] = f"{RAG}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -e -o pipefail\n{script}"],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("block", RECIPES, ids=lambda block: block.partition("\n")[0][:50])
def test_every_command_of_the_page_works(machine: Machine, tmp_path: Path, block: str) -> None:
    if "jq " in block and shutil.which("jq") is None:
        pytest.skip("jq is not installed here")
    outcome = run(machine, tmp_path, PREPARATION + block)
    assert outcome.code == 0, outcome.err
    assert outcome.out
    assert "Traceback" not in outcome.err


def script(name: str, text: str, *words: str, folder: Path | None = None) -> Outcome:
    done = subprocess.run(
        [sys.executable, str(RAG / name), *words], input=text, capture_output=True, check=False, text=True, cwd=folder
    )
    assert "Traceback" not in done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


def record(text: str, vector: list[float], model: str = "m", index: int = 0, revision: str | None = None) -> str:
    metadata = {"model": model, "revision": revision, "dimensions": len(vector), "normalized": True, "index": index}
    return json.dumps({"text": text, "embedding": vector, "metadata": metadata}) + "\n"


def test_the_nearest_records_come_first(tmp_path: Path) -> None:
    (tmp_path / "records").write_text(record("east", [1, 0]) + record("north", [0, 1]) + record("both", [0.8, 0.6]))
    outcome = script("cosine-search.py", record("?", [0, 2]), "records", "-", "--top-k", "2", folder=tmp_path)
    assert [(hit["text"], hit["score"]) for hit in map(json.loads, outcome.out.splitlines())] == [
        ("north", 1.0),
        ("both", 0.6),
    ]
    assert (
        script("cosine-search.py", record("?", [0, 2]), "records", "--text", "--top-k", "1", folder=tmp_path).out
        == "north\n\n"
    )
    (tmp_path / "query").write_text(record("?", [1, 0]))
    assert script("cosine-search.py", "", "records", "query", folder=tmp_path).out.count("\n") == 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (record("?", [0, 1], model="other"), "different models"),
        (record("?", [0, 1], revision="abc"), "different models"),
        (record("?", [0, 1, 0]), "different models"),
        ("", "holds no embeddings"),
        ("text\n", "line 1 of - is not a record"),
        ("[1]\n", "line 1 of - is not a record"),
        ('{"text": "x", "embedding": [], "metadata": 1}\n', "line 1 of - is not a record"),
    ],
    ids=["model", "revision", "dimensions", "empty", "text", "list", "metadata"],
)
def test_a_search_refuses_what_it_cannot_compare(tmp_path: Path, query: str, message: str) -> None:
    (tmp_path / "records").write_text(record("east", [1, 0]))
    outcome = script("cosine-search.py", query, "records", "-", folder=tmp_path)
    assert (outcome.code, outcome.out) == (1, "")
    assert message in outcome.err


def test_two_embedders_give_one_vector(machine: Machine, tmp_path: Path) -> None:
    for form in ("", "--jsonl "):
        line = f"echo hello | mlx-tee {form}'mlxk embed starter-embed -' 'mlxk embed other -' | combine-embeddings.py"
        outcome = run(machine, tmp_path, line)
        assert outcome.code == 0, outcome.err
        combined = json.loads(outcome.out)
        assert combined["metadata"]["model"] == "other+starter-embed"
        assert combined["metadata"]["dimensions"] == len(combined["embedding"]) == 2 * HIDDEN
        assert sum(value * value for value in combined["embedding"]) == pytest.approx(1, abs=1e-5)


def test_embeddings_that_do_not_belong_together_are_refused() -> None:
    lines = record("a", [1], "m") + record("a", [1], "n") + record("b", [1], "m", 1)
    assert "text 1 has no embedding of n" in script("combine-embeddings.py", lines).err
    assert "no embeddings" in script("combine-embeddings.py", "").err
    failed = json.dumps({"command": "mlxk embed x -", "output": "", "error": "no", "exit_code": 1})
    assert "'mlxk embed x -' failed" in script("combine-embeddings.py", failed).err


def test_the_answer_of_most_models_wins() -> None:
    headers = "==> one <==\nPositive.\n\n==> two <==\nnegative\n\n==> three <==\n  positive!\n"
    outcome = script("majority-vote.py", headers)
    assert (outcome.code, outcome.out, outcome.err) == (0, "Positive.\n", "2 of 3: Positive.\n1 of 3: negative\n")
    jsonl = "".join(json.dumps({"command": "c", "output": answer}) + "\n" for answer in ("yes", "No", "no."))
    assert script("majority-vote.py", jsonl).out == "No\n"
    for undecided in ("==> one <==\nyes\n==> two <==\nno\n", ""):
        outcome = script("majority-vote.py", undecided)
        assert (outcome.code, outcome.out) == (1, "")


def test_the_pipeline_names_its_usage(machine: Machine, tmp_path: Path) -> None:
    outcome = run(machine, tmp_path, "rag-pipeline.sh question")
    assert (outcome.code, outcome.err) == (1, "usage: rag-pipeline.sh QUESTION FILE...\n")
