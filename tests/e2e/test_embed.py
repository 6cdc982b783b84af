"""``embed`` with a real model process and a tiny model: JSON lines, streaming, files, and what is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlxknife.adapters.system.accelerator import has_gpu
from tests.e2e.processes import Machine
from tests.embedders import HIDDEN, WORDS, write_embedder
from tests.parrot import parrot_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedder(tmp_path_factory.mktemp("models") / "tiny-embed")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


def test_a_text_becomes_a_line(machine: Machine, folder: Path) -> None:
    outcome = machine.run("embed", str(folder), "hello w\u00f6rld")
    assert (outcome.code, outcome.err) == (0, "")
    record = json.loads(outcome.out)
    assert list(record) == ["text", "embedding", "metadata"]
    assert record["text"] == "hello w\u00f6rld"
    assert math.isclose(math.hypot(*record["embedding"]), 1, abs_tol=1e-6)
    meta = record["metadata"]
    assert list(meta) == ["model", "revision", "dimensions", "normalized", "index"]
    assert (meta["revision"], meta["dimensions"], meta["normalized"], meta["index"]) == (None, HIDDEN, True, 0)


def test_each_line_alone_gives_the_same_as_in_a_batch(machine: Machine, folder: Path, tmp_path: Path) -> None:
    texts = ["a b c", "", "d", "a b c d e f g h i j", "a b c"]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    (tmp_path / "one.txt").write_text(texts[3])
    out = tmp_path / "vectors.jsonl"
    batch = machine.run("embed", str(folder), "--batch", "--file", str(tmp_path / "lines.txt"), "--output", str(out))
    assert (batch.code, batch.out) == (0, "")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["text"] for record in records] == texts
    assert [record["metadata"]["index"] for record in records] == [0, 1, 2, 3, 4]
    alone = json.loads(machine.run("embed", str(folder), "--file", str(tmp_path / "one.txt")).out)
    assert alone["embedding"] == pytest.approx(records[3]["embedding"], abs=1e-5)
    assert records[0]["embedding"] == pytest.approx(records[4]["embedding"], abs=1e-5)


def test_json_wraps_the_records_and_a_long_text_warns(machine: Machine, folder: Path) -> None:
    outcome = machine.run("embed", str(folder), "a " * 100, "--json")
    (record,) = json.loads(outcome.out)["data"]["embeddings"]
    assert record["metadata"]["dimensions"] == HIDDEN
    assert outcome.err.startswith("warning: The text is longer than")


def test_a_query_has_the_prompt_of_the_model(machine: Machine, folder: Path) -> None:
    document, query = (
        json.loads(machine.run("embed", str(folder), "a b", *words).out)["embedding"] for words in ((), ("--query",))
    )
    assert document != query


def test_the_first_record_comes_before_the_last_line_and_a_closed_pipe_ends_it(machine: Machine, folder: Path) -> None:
    command = [sys.executable, "-m", "mlxknife", "embed", str(folder), "-", "--batch"]
    environment = {**os.environ, **machine.environment()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == "first"
        process.stdout.close()
        process.stdin.write(b"second\n")
        process.stdin.close()
        assert process.wait(60) == 141


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", "--dimensions", "8"), "cannot have 8 dimensions"),
        ((), "No text"),
        (("a", "--batch"), "--batch"),
        (("--file", "nowhere.txt"), "nowhere.txt"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_named(machine: Machine, folder: Path, words: tuple[str, ...], message: str) -> None:
    outcome = machine.run("embed", str(folder), *words)
    assert outcome.code != 0
    assert outcome.out == ""
    assert message in outcome.err


def test_shorter_vectors_have_length_one_too(machine: Machine, tmp_path: Path) -> None:
    model = write_embedder(tmp_path, config={"is_matryoshka": True})
    whole, short = (
        json.loads(machine.run("embed", str(model), "a b", *words).out) for words in ((), ("--dimensions", "4"))
    )
    assert short["metadata"]["dimensions"] == len(short["embedding"]) == 4
    first = whole["embedding"][:4]
    assert short["embedding"] == pytest.approx([value / math.hypot(*first) for value in first], abs=1e-6)


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_gpu_is_refused_where_there_is_none(machine: Machine, folder: Path) -> None:
    outcome = machine.run("embed", str(folder), "a", "--gpu")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no GPU" in outcome.err


def test_a_text_that_fails_ends_the_command_or_is_left_out(machine: Machine, tmp_path: Path) -> None:
    model = write_embedder(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][WORDS["z"]] = np.nan
    save_file(tensors, model / "model.safetensors")
    (tmp_path / "lines.txt").write_text("a\nb z\nc\nz\nd\n")
    words = ("embed", str(model), "--batch", "--file", str(tmp_path / "lines.txt"))
    stopped = machine.run(*words)
    assert stopped.code == 1
    assert "NaN" in stopped.err
    outcome = machine.run(*words, "--keep-going")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(record["text"], record["metadata"]["index"]) for record in records] == [("a", 0), ("c", 2), ("d", 4)]
    assert outcome.code == 1
    assert [line.split(" cannot")[0] for line in outcome.err.splitlines()] == ["warning: text 2", "warning: text 4"]


def test_a_line_that_is_no_text_is_named_and_costs_no_other(machine: Machine, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(b"a\nb\0\nc\n\xff\nd\n")
    words = ("embed", str(folder), "--batch", "--file", str(tmp_path / "lines.txt"))
    stopped = machine.run(*words)
    assert [json.loads(line)["text"] for line in stopped.out.splitlines()] == ["a"]
    assert stopped.code == 1
    assert f"line 2 of {tmp_path}/lines.txt is binary" in stopped.err
    outcome = machine.run(*words, "--keep-going")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(record["text"], record["metadata"]["index"]) for record in records] == [("a", 0), ("c", 2), ("d", 4)]
    assert outcome.code == 1
    assert [line.split(" cannot")[0] for line in outcome.err.splitlines()] == ["warning: text 2", "warning: text 4"]


def test_the_right_command_is_named(machine: Machine, folder: Path) -> None:
    embedder = machine.run("run", str(folder), "hello")
    assert (embedder.code, embedder.out) == (1, "")
    assert f"mlxk embed {folder}" in embedder.err
    chat = machine.run("embed", str(parrot_folder()), "hello")  # below a folder of any name
    assert (chat.code, chat.out) == (1, "")
    assert "makes no embeddings" in chat.err
    assert "mlxk run" in chat.err
