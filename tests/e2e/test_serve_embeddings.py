"""Embeddings over HTTP with a real model process beside that of a language model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import Server, eventually, parrot_in, serving
from tests.embedders import write_embedder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TEXTS = ["a b c", "hello", "a " * 20]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    parrot_in(machine)
    write_embedder(machine.home / "tiny-embed")
    with serving(machine) as server:
        yield server


def test_the_vectors_are_those_of_embed_beside_a_chat(server: Server) -> None:
    assert server.chat("parrot", "hello").status == 200
    reply = server.ask("/v1/embeddings", {"model": "tiny-embed", "input": TEXTS})
    assert reply.status == 200, reply.body
    (server.machine.root / "lines.txt").write_text("\n".join(TEXTS))
    lines = server.machine.run("embed", "tiny-embed", "--batch", "--file", "lines.txt")
    expected = [json.loads(line)["embedding"] for line in lines.out.splitlines()]
    for entry, vector in zip(reply.document()["data"], expected, strict=True):
        assert entry["embedding"] == pytest.approx(vector, abs=1e-5)
    query = {"model": "tiny-embed", "input": TEXTS[0], "input_type": "query"}
    (asked,) = server.ask("/v1/embeddings", query).document()["data"]
    line = server.machine.run("embed", "tiny-embed", TEXTS[0], "--query")
    assert asked["embedding"] == pytest.approx(json.loads(line.out)["embedding"], abs=1e-5)
    cards = {card["id"]: card for card in server.ask("/v1/models").document()["data"]}
    assert {name: (card["kind"], card["loaded"]) for name, card in cards.items()} == {
        "parrot": ("text", True),
        "tiny-embed": ("embedding", True),
    }
    assert len(server.workers()) == 2


def test_a_client_that_leaves_frees_the_model(server: Server) -> None:
    connection = server.connect()
    body = json.dumps({"model": "tiny-embed", "input": ["a " * 20] * 2048})
    connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
    connection.close()
    eventually(lambda: all(not model["running"] for model in server.ask("/health").document()["models"]))
    assert server.ask("/v1/embeddings", {"model": "tiny-embed", "input": "a"}).status == 200


def test_a_token_outside_the_vocabulary_is_refused(server: Server) -> None:
    reply = server.ask("/v1/embeddings", {"model": "tiny-embed", "input": [2, 10_000, 3]})
    assert (reply.status, reply.error()["param"]) == (400, "input[0]")
