"""``rerank`` with a real model process and a tiny model, on the command line and over HTTP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import BIN, Machine
from tests.e2e.serving import serving
from tests.embedders import write_embedder
from tests.rerankers import FAMILIES, write_reranker

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DOCUMENTS = ["Paris is the capital of France.", '{"text": "Bananas are yellow.", "score": 0.1}', "", "caf\u00e9"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    for family in FAMILIES:
        write_reranker(machine.home / f"tiny-reranker-{family}", family)
    write_embedder(machine.home / "tiny-embed")
    (machine.root / "lines.txt").write_text("\n".join(DOCUMENTS))
    return machine


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_document_comes_first(machine: Machine, family: str) -> None:
    outcome = machine.run("rerank", f"tiny-reranker-{family}", "What is yellow?", "lines.txt")
    assert (outcome.code, outcome.err) == (0, "")
    found = lines(outcome.out)
    assert all(list(one) == ["index", "score", "text"] for one in found)
    assert {one["index"]: one["text"] for one in found} == {0: DOCUMENTS[0], 1: "Bananas are yellow.", 2: "caf\u00e9"}
    scores = [float(str(one["score"])) for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert outcome.out.isascii()


def test_stdin_is_the_default_and_json_wraps_the_results(machine: Machine) -> None:
    words = [str(BIN / "mlxk"), "rerank", "tiny-reranker-bert", "q", "--top-k", "1", "--json"]
    options = {"env": machine.environment(), "cwd": machine.root, "capture_output": True, "text": True}
    done = subprocess.run(words, input="a\nb\n", check=False, **options)  # type: ignore[call-overload]
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"], document["command"]) == (0, "success", "rerank")
    assert list(document["data"]) == ["model", "revision", "query", "results"]
    assert len(document["data"]["results"]) == 1


def test_a_long_document_warns(machine: Machine) -> None:
    (machine.root / "long.txt").write_text("word " * 1000 + "\n")
    outcome = machine.run("rerank", "tiny-reranker-bert", "q", "long.txt")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: 1 document is longer than tiny-reranker-bert reads")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("tiny-reranker-bert", " ", "lines.txt"), "query is empty"),
        (("tiny-reranker-bert", "q", "lines.txt", "--top-k", "0"), "--top-k is 0"),
        (("tiny-reranker-bert", "q", "-"), "stdin is empty"),
        (("tiny-reranker-bert", "q", "nothing.txt"), "nothing.txt"),
        (("tiny-reranker-bert", "q", "bad.jsonl"), "Line 2 of bad.jsonl is a JSON object without a text"),
        (("tiny-embed", "q", "lines.txt"), "mlxk embed tiny-embed"),
        (("tiny-reranker-bert",), "QUERY"),
    ],
)
def test_what_is_wrong_is_said(machine: Machine, words: tuple[str, ...], error: str) -> None:
    (machine.root / "bad.jsonl").write_text('a\n{"title": "b"}\n')
    outcome = machine.run("rerank", *words)
    assert outcome.code in (1, 3)
    assert error in outcome.err
    assert outcome.out == ""


def test_the_other_commands_name_rerank_and_list_calls_it_a_reranker(machine: Machine) -> None:
    for command in ("run", "embed"):
        outcome = machine.run(command, "tiny-reranker-qwen3", "q")
        assert (outcome.code, "mlxk rerank tiny-reranker-qwen3" in outcome.err) == (1, True)
    listed = json.loads(machine.run("list", "--json").out)["data"]["models"]
    found = {one["name"]: one for one in listed if "reranker" in one["name"]}
    assert len(found) == len(FAMILIES)
    for one in found.values():
        assert (one["model_type"], one["capabilities"], one["runtime_compatible"]) == ("reranker", ["reranking"], True)


def test_the_scores_over_http_are_those_of_the_command(machine: Machine) -> None:
    documents = [DOCUMENTS[0], "Bananas are yellow.", "caf\u00e9"]
    outcome = machine.run("rerank", "tiny-reranker-bert", "What is yellow?", "lines.txt")
    body = {"model": "tiny-reranker-bert", "query": "What is yellow?", "documents": documents}
    with serving(machine) as server:
        reply = server.ask("/v1/rerank", body)
        results = reply.document()["results"]
        assert [result["index"] for result in results] == [one["index"] for one in lines(outcome.out)]
        for result, line in zip(results, lines(outcome.out), strict=True):
            assert result["relevance_score"] == pytest.approx(line["score"], abs=1e-5)
        cards = {card["id"]: card["kind"] for card in server.ask("/v1/models").document()["data"]}
        assert cards["tiny-reranker-bert"] == "reranking"


def test_python_ranks_documents(machine: Machine, tmp_path: Path) -> None:
    program = (
        "from mlxknife import open_app\n"
        f"with open_app(workspace_home={str(machine.home)!r}).rerankers.open('tiny-reranker-bert') as reranker:\n"
        "    ranked = reranker.rank('q', [str(number) for number in range(300)], top_k=2)\n"
        "    print(reranker, [len(one.text) > 0 and 0 < one.score < 1 for one in ranked], reranker.rank('q', []))\n"
    )
    outcome = machine.run("-c", program, program="python", cwd=tmp_path)
    assert outcome.err == ""
    assert outcome.out.endswith("[True, True] ()\n")
