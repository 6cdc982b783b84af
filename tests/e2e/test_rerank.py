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


@pytest.fixture(scope="module")
def index(machine: Machine) -> str:
    docs = machine.root / "docs"
    docs.mkdir()
    for number, text in enumerate((DOCUMENTS[0], "Bananas are yellow.", "caf\u00e9")):
        (docs / f"{number}.txt").write_text(f"{text}\n")
    assert machine.run("index", "docs.index", "docs", "--model", "tiny-embed").code == 0
    return "docs.index"


def test_a_search_prints_the_best_hits_of_a_reranker(machine: Machine, index: str) -> None:
    query = "What is yellow?"
    expected = lines(machine.run("rerank", "tiny-reranker-bert", query, "lines.txt").out)
    outcome = machine.run("search", index, query, "--rerank", "tiny-reranker-bert", "--top-k", "2")
    assert (outcome.code, outcome.err) == (0, "")
    hits = lines(outcome.out)
    assert [*hits[0]] == ["file", "first_line", "last_line", "score", "similarity", "title", "text"]
    assert [hit["text"] for hit in hits] == [one["text"] for one in expected[:2]]
    assert [hit["score"] for hit in hits] == pytest.approx([one["score"] for one in expected[:2]], abs=1e-5)
    assert all(hit["similarity"] is not None for hit in hits)
    data = machine.run("search", index, query, "--mode", "text", "--rerank", "tiny-reranker-bert", "--json").data()
    assert [*data] == ["index", "query", "mode", "reranker", "reranker_revision", "hits"]
    assert (data["reranker"], data["reranker_revision"]) == ("tiny-reranker-bert", None)
    plain = machine.run("search", index, query, "--mode", "text", "--json").data()
    assert (plain["reranker"], plain["reranker_revision"]) == (None, None)


def test_the_hits_of_a_search_can_be_piped_into_rerank(machine: Machine, index: str) -> None:
    outcome = machine.shell(f"mlxk search {index} yellow | mlxk rerank tiny-reranker-bert yellow --top-k 1")
    assert (outcome.code, outcome.err, len(lines(outcome.out))) == (0, "", 1)


@pytest.mark.parametrize(
    ("model", "error"), [("tiny-embed", "mlxk embed tiny-embed"), ("nowhere", "nowhere"), ("", "error:")]
)
def test_a_search_names_what_cannot_rerank(machine: Machine, index: str, model: str, error: str) -> None:
    outcome = machine.run("search", index, "yellow", "--mode", "text", "--rerank", model, "--no-pull")
    assert (outcome.code in (1, 3), outcome.out) == (True, "")
    assert error in outcome.err
    assert outcome.err.count("error:") == 1


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
