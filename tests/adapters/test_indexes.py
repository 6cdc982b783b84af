"""Indexes as a whole: updates, searches, other models, and interruptions, over real files and SQLite."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import attrs
import pytest

from mlxknife.adapters.documents import files
from mlxknife.domain.errors import (
    EngineError,
    IndexModelMismatch,
    IndexNotUsable,
    StorageError,
    UnsupportedCapability,
    ValidationError,
)
from mlxknife.domain.retrieval.rules import ranking
from mlxknife.domain.retrieval.rules.models import PROBE
from mlxknife.domain.retrieval.services.indexer import GROUP
from mlxknife.domain.retrieval.values import IndexReport, SearchMode, SkippedFile, SkipReason
from mlxknife.ports.system.progress import NoProgress
from tests.adapters.test_document_files import write
from tests.retrieval import MAX_WORDS, CountingClient, CountingEmbedders, LengthClient, indexes, open_index, reranker

TEXTS = {
    "pears.md": "# Fruit\n\nPears grow on trees in the orchard.\n",
    "trains.txt": "Trains leave the station at noon.\n\nTickets are cheap.\n",
    "code.py": "def retry(times):\n    return times\n",
}


def counts(report: IndexReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", TEXTS)


def test_only_what_changed_is_embedded_again(tmp_path: Path, docs: Path) -> None:
    embedders = CountingEmbedders()
    with open_index(tmp_path / "an.index", embedders) as index:
        report = index.update([str(docs)])
        assert (counts(report), report.info.files, report.info.chunks) == ((3, 0, 0, 0), 3, 3)
        assert report.info.roots == (str(docs),)
        embedders.client.texts.clear()
        assert counts(index.update()) == (0, 0, 3, 0)
        assert embedders.client.texts == []
        write(docs, {"pears.md": "# Fruit\n\nApples.\n", "new.txt": "A new text."})
        (docs / "code.py").unlink()
        (docs / ".gitignore").write_text("trains.txt\n")
        report = index.update([f"{docs}/../docs"])
        assert counts(report) == (1, 1, 0, 2)
        assert sorted(embedders.client.texts) == ["# Fruit\n\nApples.", "A new text."]
        assert report.skip_counts == {SkipReason.HIDDEN: 1, SkipReason.IGNORED: 1}
        assert [hit.file for hit in index.search("apples", top_k=1)] == [str(docs / "pears.md")]
    assert embedders.client.is_closed


def test_the_paths_are_updated_each_for_itself(tmp_path: Path, docs: Path) -> None:
    other = write(tmp_path / "docs-other", {"a.txt": "text"})  # a name that begins like the other
    with open_index(tmp_path / "an.index") as index:
        with pytest.raises(ValidationError, match="no paths"):
            index.update()
        index.update([str(docs), str(other), str(docs / "code.py")])
        (docs / "code.py").unlink()
        (other / "a.txt").unlink()
        assert counts(index.update([str(other)])) == (0, 0, 0, 1)
        assert index.info().files == 3
        with pytest.raises(StorageError, match="code"):
            index.update()  # a path of the index is gone: it may be a disk that is not there now
        assert counts(index.update([str(docs)])) == (0, 0, 2, 1)


def test_what_cannot_be_read_now_stays_in_the_index(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_index(tmp_path / "an.index") as index:
        index.update([str(docs)])
        real, unreadable = files._content, str(docs / "code.py")  # noqa: SLF001 - root can read every file

        def content(path: str, limit: int) -> bytes | SkipReason:
            if path == unreadable:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return real(path, limit)

        monkeypatch.setattr(files, "_content", content)
        report = index.update()
        assert counts(report) == (0, 0, 2, 0)
        assert report.skipped == (SkippedFile(unreadable, SkipReason.UNREADABLE, "Permission denied"),)
        assert report.info.files == 3


def test_hits_have_their_place_title_and_scores(tmp_path: Path, docs: Path) -> None:
    with open_index(tmp_path / "an.index") as index:
        index.update([str(docs)])
        hit = index.search("pears orchard", top_k=1)[0]
        assert (hit.file, hit.first_line, hit.last_line, hit.title) == (str(docs / "pears.md"), 1, 3, "Fruit")
        assert hit.text == "# Fruit\n\nPears grow on trees in the orchard."
        assert hit.score == pytest.approx(1.5 / 6)
        assert hit.similarity is not None
        (by_words,) = index.search("orchard", mode=SearchMode.TEXT)
        assert by_words.similarity is None
        assert [hit.file for hit in index.search("???")] != []
        assert len(index.search("pears", mode=SearchMode.VECTOR)) == 3
        for question, top_k in (("", 5), ("  ", 5), ("x", 0), ("x", 1001)):
            with pytest.raises(ValidationError):
                index.search(question, top_k=top_k)


def test_a_reranker_decides_the_order_and_the_scores(tmp_path: Path, docs: Path) -> None:
    client = LengthClient(max_characters=30)
    with open_index(tmp_path / "an.index") as index:
        index.update([str(docs)])
        plain = {hit.file: hit for hit in index.search("pears orchard")}
        hits = index.search("pears orchard", reranker=reranker(client))
        assert [hit.file for hit in hits] == [str(docs / name) for name in ("code.py", "pears.md", "trains.txt")]
        assert [hit.is_truncated for hit in hits] == [True, True, True]
        lengths = sorted(len(text) for text in client.requests[0].documents)
        assert [hit.score for hit in hits] == [1 / (1 + length) for length in lengths]
        assert all(
            attrs.evolve(hit, score=plain[hit.file].score, is_truncated=False) == plain[hit.file] for hit in hits
        )
        assert index.search("pears orchard", top_k=1, reranker=reranker(client)) == hits[:1]
        assert len(index.search("orchard", mode=SearchMode.TEXT, reranker=reranker(client))) == 1
        assert index.search("zebra", mode=SearchMode.TEXT, reranker=reranker(client)) == ()
        with pytest.raises(ValidationError):
            index.search(" ", reranker=reranker(client))


def test_a_reranker_reads_the_best_hits_with_their_titles(tmp_path: Path) -> None:
    docs = write(
        tmp_path / "docs", {f"{number:02}.md": f"# Title\n\n{'a ' * 393}\n\nb {number}\n" for number in range(40)}
    )
    client = LengthClient()
    with open_index(tmp_path / "an.index") as index:
        index.update([str(docs)])
        for top_k, count in ((1, ranking.RERANKED), (ranking.RERANKED + 5, ranking.RERANKED + 5)):
            found = index.search("b 7", top_k=count)
            assert len(index.search("b 7", top_k=top_k, reranker=reranker(client))) == top_k
            texts = [hit.text if hit.text.startswith("# Title") else f"Title\n{hit.text}" for hit in found]
            assert list(client.requests[-1].documents) == texts
            assert client.requests[-1].query == "b 7"
    assert any(text.startswith("Title\n") for text in client.requests[-1].documents)


def test_a_search_for_words_needs_no_model(tmp_path: Path, docs: Path) -> None:
    with open_index(tmp_path / "an.index") as index:
        index.update([str(docs)])
    embedders = CountingEmbedders(CountingClient(fails_at=0))
    with indexes(embedders).open(str(tmp_path / "an.index"), is_text_only=True) as index:
        assert len(index.search("tickets", mode=SearchMode.TEXT)) == 1
        for use in (lambda: index.search("tickets"), index.update):
            with pytest.raises(UnsupportedCapability):
                use()


@pytest.mark.parametrize(
    ("embedders", "model", "message"),
    [
        (CountingEmbedders(), "other", "vectors of 'counting'"),
        (CountingEmbedders(commits={"counting": "b" * 40}), "counting", "'counting@b"),
        (CountingEmbedders(CountingClient(dimensions=16)), None, "32 dimensions"),
        (CountingEmbedders(CountingClient(seed=1)), None, "have changed"),
    ],
    ids=["name", "revision", "dimensions", "weights"],
)
def test_an_index_is_never_used_with_another_model(
    tmp_path: Path, docs: Path, embedders: CountingEmbedders, model: str | None, message: str
) -> None:
    path = tmp_path / "an.index"
    with open_index(path) as index:
        index.update([str(docs)])
    before = path.read_bytes()
    for is_created in (False, True):
        made = attrs.evolve(embedders, client=attrs.evolve(embedders.client))
        with pytest.raises(IndexModelMismatch, match=message):
            indexes(made).open(str(path), model=model, is_created=is_created)
        assert made.client.is_closed
    assert path.read_bytes() == before


def test_the_model_of_an_index_is_loaded_at_its_revision(tmp_path: Path, docs: Path) -> None:
    path, commit = tmp_path / "an.index", "a" * 40
    service = indexes(CountingEmbedders(commits={"org/model": commit}))
    assert service.model_spec(str(path)) == "starter-embed"
    assert service.model_spec(str(path), "org/model") == "org/model"
    with service.open(str(path), model="org/model", is_created=True) as index:
        index.update([str(docs)])
    assert service.model_spec(str(path)) == f"org/model@{commit}"
    with indexes(CountingEmbedders()).open(str(path)) as index:
        assert len(index.search("pears")) == 3


def test_no_model_is_loaded_for_a_file_that_is_no_index(tmp_path: Path) -> None:
    service = indexes(CountingEmbedders(CountingClient(fails_at=0)))
    with pytest.raises(StorageError, match="There is no index"):
        service.open(str(tmp_path / "an.index"))
    (tmp_path / "an.index").write_text("a text")
    for is_created in (False, True):
        with pytest.raises(IndexNotUsable):
            service.open(str(tmp_path / "an.index"), is_created=is_created)


def test_an_update_that_fails_keeps_whole_groups_and_goes_on_there(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {f"{number:04}.txt": f"text {number}" for number in range(2 * GROUP + 10)})
    path, probes = tmp_path / "an.index", 2
    embedders = CountingEmbedders(CountingClient(fails_at=probes + GROUP + 5))
    with open_index(path, embedders) as index:
        with pytest.raises(EngineError):
            index.update([str(docs)])
        assert index.info().files == GROUP
    again = CountingEmbedders()
    with open_index(path, again) as index:
        assert counts(index.update()) == (GROUP + 10, 0, GROUP, 0)
    assert len(again.client.texts) == probes + GROUP + 10
    assert again.client.texts[0] == PROBE


def test_chunks_that_the_model_cannot_read_whole_are_counted(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "a " * (MAX_WORDS + 1), "b.txt": "short"})
    with open_index(tmp_path / "an.index") as index:
        assert index.update([str(docs)]).truncated == 1


class Counted(NoProgress):
    """Counts what is reported."""

    def __init__(self) -> None:
        self.total, self.steps, self.is_ended = 0, list[int](), False

    def begin(self, label: str, total_bytes: int) -> None:
        assert label
        self.total = total_bytes

    def advance(self, count: int, file: str | None = None) -> None:
        del file
        self.steps.append(count)

    def end(self) -> None:
        self.is_ended = True


def test_the_progress_goes_chunk_by_chunk_to_the_size_of_the_files(tmp_path: Path, docs: Path) -> None:
    write(docs, {"long.md": "# A\n\ntext\n" * 20})
    with open_index(tmp_path / "an.index") as index:
        for steps in (23, 4):  # 20 chunks and three short files; then unchanged files
            progress = Counted()
            index.update([str(docs)], progress)
            assert sum(progress.steps) == progress.total == sum(path.stat().st_size for path in docs.iterdir())
            assert (len(progress.steps), progress.is_ended) == (steps, True)


def test_a_blank_file_is_known_and_found_by_nothing(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "\n\n"})
    with open_index(tmp_path / "an.index") as index:
        report = index.update([str(docs)])
        assert (counts(report), report.info.chunks) == ((1, 0, 0, 0), 0)
        assert counts(index.update()) == (0, 0, 1, 0)
        assert index.search("anything") == ()
