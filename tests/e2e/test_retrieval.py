"""``index`` and ``search`` as programs, with a tiny embedding model in a real process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.adapters.test_document_files import write
from tests.e2e.processes import BIN, Machine
from tests.embedders import HIDDEN, write_embedder
from tests.parrot import parrot_folder

KILLS, DOCUMENTS = 100, 150


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    write_embedder(machine.home / "tiny")
    write_embedder(machine.home / "other", seed=1)
    write(machine.root / "docs", {"a.md": "# Alpha\n\na b c\n", "sub/b.txt": "d e f orchard\n", ".hidden": "x"})
    return machine


@pytest.fixture(scope="module")
def index(machine: Machine) -> str:
    outcome = machine.run("index", "docs.index", "docs", "--model", "tiny")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "docs.index: 2 files, 2 chunks, model tiny\n  2 added, 0 updated, 0 unchanged, 0 removed\n  skipped: 1 hidden\n"
    )
    return "docs.index"


def test_a_pipe_gets_a_line_for_each_hit(machine: Machine, index: str) -> None:
    outcome = machine.run("search", index, "orchard", "--top-k", "1")
    assert (outcome.code, outcome.err) == (0, "")
    (hit,) = [json.loads(line) for line in outcome.out.splitlines()]
    assert list(hit) == ["file", "first_line", "last_line", "score", "similarity", "title", "text"]
    assert (hit["file"], hit["first_line"], hit["text"]) == ("docs/sub/b.txt", 1, "d e f orchard")
    below = machine.run("search", f"../{index}", "orchard", "--top-k", "1", cwd=machine.root / "docs")
    assert json.loads(below.out)["file"] == "sub/b.txt"


def test_the_document_of_json_holds_the_hits_and_the_counts(machine: Machine, index: str) -> None:
    data = machine.run("search", index, "a b", "--mode", "vector", "--json").data()
    assert (data["index"], data["query"], data["mode"]) == (index, "a b", "vector")
    hits = data["hits"]
    assert isinstance(hits, list)
    assert [hit["score"] for hit in hits] == sorted((hit["similarity"] for hit in hits), reverse=True)
    data = machine.run("index", index, "--json").data()
    del data["skipped"]
    assert data == {
        "index": index,
        "model": "tiny",
        "revision": None,
        "dimensions": HIDDEN,
        "files": 2,
        "chunks": 2,
        "added": 0,
        "updated": 0,
        "unchanged": 2,
        "removed": 0,
        "truncated_chunks": 0,
        "skipped_files": [],
    }


def test_a_terminal_gets_a_list(machine: Machine, index: str) -> None:
    outcome = machine.on_terminal("search", index, "orchard", "--mode", "text", NO_COLOR="1")
    assert outcome.code == 0
    first, *rest = outcome.out.splitlines()
    assert first.startswith("1. docs/sub/b.txt:1  ")
    assert rest == ["   d e f orchard"]
    nothing = machine.on_terminal("search", index, "nothing-like-it", "--mode", "text", NO_COLOR="1")
    assert (nothing.code, nothing.out) == (0, "nothing found\n")


def test_the_question_may_come_from_stdin(machine: Machine, index: str) -> None:
    outcome = machine.shell(f"echo orchard | mlxk search {index} - --mode text")
    assert json.loads(outcome.out)["file"] == "docs/sub/b.txt"
    off = machine.shell(f"echo orchard | mlxk search {index} -", MLXK2_ENABLE_PIPES="0")
    assert (off.code, off.out) == (1, "")
    assert "MLXK2_ENABLE_PIPES" in off.err


def test_a_reader_that_has_enough_ends_it_quietly(machine: Machine, index: str) -> None:
    outcome = machine.shell(f"mlxk search {index} a | true; echo ${{PIPESTATUS[0]}}")
    assert outcome.out in ("141\n", "0\n")  # true may end after the write
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("search", "nowhere.index", "x"), 3, "There is no index at nowhere.index"),
        (("search", "docs/a.md", "x"), 1, "docs/a.md is not an index"),
        (("search", "docs.index", " "), 1, "The question is empty"),
        (("search", "docs.index", "x", "--top-k", "0"), 1, "--top-k"),
        (("index", "docs.index", "nowhere"), 3, "nowhere"),
        (("index", "docs.index", "docs", "--model", "other"), 1, "vectors of 'tiny'"),
        (("index", "docs/a.md", "docs", "--model", "tiny"), 1, "docs/a.md is not an index"),
        (("index", "new.index", "--model", "tiny"), 1, "No path"),
        (("index", "no/folder.index", "docs", "--model", "tiny"), 3, "No such file"),
        (("index", "new.index", "docs", "--no-pull"), 1, "starter-embed"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_named(
    machine: Machine, index: str, words: tuple[str, ...], code: int, message: str
) -> None:
    before = (machine.root / index).read_bytes()
    outcome = machine.run(*words)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert outcome.err.count("error:") == 1
    assert (machine.root / index).read_bytes() == before
    assert not (machine.root / "new.index").exists()


def test_a_model_whose_files_have_changed_is_refused(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "an.index"
    write_embedder(machine.home / "changing")
    assert machine.run("index", str(place), "docs", "--model", "changing").code == 0
    write_embedder(machine.home / "changing", seed=3)
    outcome = machine.run("search", str(place), "a b", "--json")
    assert outcome.error()["type"] == "index_model_mismatch"
    assert outcome.code == 1


def test_what_is_skipped_and_should_not_be_is_named(machine: Machine, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "text"})
    (docs / "latin\n.txt").write_bytes(b"caf\xe9")
    outcome = machine.run("index", str(tmp_path / "an.index"), str(docs), "--model", "tiny")
    assert outcome.code == 0
    assert outcome.err == f"warning: {docs}/latin\\n.txt is skipped (not UTF-8)\n"
    assert outcome.out.endswith("skipped: 1 not UTF-8\n")


def test_a_name_that_is_not_utf8_is_printed_as_json(machine: Machine, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {})
    docs.mkdir()
    with open(os.fsencode(docs) + b"/\xff.txt", "wb") as file:
        file.write(b"orchard")
    place = str(tmp_path / "an.index")
    assert machine.run("index", place, str(docs), "--model", "tiny").code == 0
    line = machine.run("search", place, "orchard", "--mode", "text").out
    assert json.loads(line)["file"].endswith("/\udcff.txt")
    assert machine.run("search", place, "orchard", "--mode", "text", "--json").code == 0


def kill_while_indexing(machine: Machine, tmp_path: Path, kills: int) -> None:
    """Kill ``index`` at random moments; each time the index is whole, and at the end it is complete."""
    chance = np.random.default_rng()
    docs = write(tmp_path / "docs", {f"{number}.txt": f"text {number}\n\n" * 40 for number in range(DOCUMENTS)})
    place = tmp_path / "an.index"
    command = [str(BIN / "mlxk"), "index", str(place), str(docs), "--model", "tiny"]
    began = time.monotonic()
    assert machine.run(*command[1:]).code == 0
    seconds = time.monotonic() - began  # of a whole run, so that a kill comes in the middle of one on any machine
    place.unlink()
    for _ in range(kills):
        if chance.random() < 0.2:
            place.unlink(missing_ok=True)
        for number in chance.choice(DOCUMENTS, 20, replace=False):
            (docs / f"{number}.txt").write_text(f"text {chance.integers(10**6)}\n\n" * int(chance.integers(1, 80)))
        with subprocess.Popen(
            command, env=machine.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            time.sleep(chance.uniform(0, seconds))
            process.send_signal(signal.SIGKILL)
        if place.exists() and place.stat().st_size:
            check_whole(place)
            searched = machine.run("search", str(place), "text", "--mode", "text")
            assert searched.code == 0 or "There is no index" in searched.err
    assert machine.run(*command[1:]).code == 0
    check_whole(place)
    data = machine.run("index", str(place), "--json").data()
    assert (data["files"], data["unchanged"]) == (DOCUMENTS, DOCUMENTS)


def check_whole(place: Path) -> None:
    """Check that an index is intact, and that texts, words, vectors and segments belong together."""
    connection = sqlite3.connect(place)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        keys = {key for (key,) in connection.execute("SELECT chunks.id FROM chunks JOIN files ON file = files.id")}
        assert keys == {key for (key,) in connection.execute("SELECT chunk FROM vectors")}
        segments = connection.execute("SELECT id, keys FROM segments").fetchall()
        places = [(int(key), place) for place, blob in segments for key in np.frombuffer(blob, np.int64)]
        assert sorted(places) == connection.execute("SELECT id, segment FROM chunks ORDER BY id").fetchall()
    finally:
        connection.rollback()
        connection.close()


def test_an_index_survives_kills(machine: Machine, tmp_path: Path) -> None:
    kill_while_indexing(machine, tmp_path, 2)


@pytest.mark.stress(part="index-kills")
@pytest.mark.timeout(3600)
def test_an_index_survives_many_kills(machine: Machine, tmp_path: Path) -> None:
    kill_while_indexing(machine, tmp_path, KILLS)


def test_two_processes_fill_one_index(machine: Machine, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {f"{number}.txt": f"text {number}" for number in range(60)})
    place = str(tmp_path / "an.index")
    command = [str(BIN / "mlxk"), "index", place, str(docs), "--model", "tiny"]
    both = [subprocess.Popen(command, env=machine.environment(), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(100) for process in both] == [0, 0]
    check_whole(Path(place))
    assert machine.run("index", place, "--json").data()["unchanged"] == 60
    shutil.rmtree(docs)


@pytest.fixture(scope="module")
def parrot(machine: Machine) -> str:
    """Return a chat model, which answers something to any question."""
    shutil.copytree(parrot_folder(), machine.home / "parrot")
    return "parrot"


def test_an_answer_from_an_index_names_its_sources(machine: Machine, index: str, parrot: str) -> None:
    words = ("run", parrot, "What is in the orchard?", "--context", index, "--max-tokens", "8")
    plain = machine.run(*words)
    assert plain.code == 0
    assert plain.out
    assert "sources" not in plain.out
    assert plain.err.startswith("sources: docs/")
    assert {line[9:] for line in plain.err.splitlines()[:2]} == {"docs/a.md:1-3", "docs/sub/b.txt:1"}
    data = machine.run(*words, "--json").data()
    sources, prompt = data["sources"], str(data["prompt"])
    assert isinstance(sources, list)
    assert {source["file"] for source in sources} == {"docs/a.md", "docs/sub/b.txt"}
    assert [*sources[0]] == ["file", "first_line", "last_line", "score"]
    assert "docs/sub/b.txt:1-1:\n\nd e f orchard\n\n" in prompt
    assert prompt.endswith(
        "Answer the question from these passages. If they do not answer it, say so.\n\nWhat is in the orchard?"
    )


def test_the_question_to_an_index_may_come_from_a_pipe_with_files(machine: Machine, index: str, parrot: str) -> None:
    line = f"echo orchard | mlxk run {parrot} --in docs/a.md - --context {index} --max-tokens 4 --json"
    prompt = str(machine.shell(line).data()["prompt"])
    assert prompt.startswith("docs/a.md:\n\n# Alpha")
    assert prompt.endswith("say so.\n\norchard")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-c", "--context", "docs.index"), "--context needs a question"),
        (("question", "--context", "nowhere.index"), "There is no index at nowhere.index"),
        (("question", "--context", "docs/a.md"), "is not an index"),
    ],
    ids=str,
)
def test_an_index_that_cannot_be_used_is_named_before_a_model_is_loaded(
    machine: Machine, index: str, parrot: str, words: tuple[str, ...], message: str
) -> None:
    assert index
    outcome = machine.run("run", parrot, *words)
    assert (outcome.code in (1, 3), outcome.out) == (True, "")
    assert message in outcome.err
