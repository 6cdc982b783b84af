"""How well a search finds what a question asks for, with the starter embedder and the articles of ``tests/corpus``.

The articles and the 60 questions were written before the ranking was tuned, and half of the questions are held out: the
constants of the ranking were chosen on the others only.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pytest

import mlxknife
from mlxknife.domain.retrieval.services.indexes import Index
from mlxknife.domain.retrieval.values import Hit, SearchMode
from tests.scorecard import Scorecard
from tests.shared import WHEELS, wheels_in_use

CORPUS = Path(__file__).parents[1] / "corpus"
DEPTH, FIRST = 10, 5
MARGIN = 0.03
"""How far hybrid ranking may be behind the better of the other two."""


@attrs.frozen
class Question:
    """A question, and the section that answers it."""

    question: str
    file: str
    heading: str
    held_out: bool

    def rank(self, hits: tuple[Hit, ...]) -> int | None:
        """Return the rank of the first hit in the section."""
        right = (hit.file.endswith(f"/{self.file}") and hit.title.endswith(self.heading) for hit in hits)
        return next((rank for rank, is_right in enumerate(right, 1) if is_right), None)


QUESTIONS = [Question(**row) for row in json.loads((CORPUS / "questions.json").read_text(encoding="utf-8"))]


def measured(index: Index, mode: SearchMode, *, held_out: bool) -> tuple[float, float]:
    """Return recall@5 and the mean reciprocal rank over one half of the questions."""
    asked = [question for question in QUESTIONS if question.held_out is held_out]
    ranks = [question.rank(index.search(question.question, top_k=DEPTH, mode=mode)) for question in asked]
    recall = sum(rank is not None and rank <= FIRST for rank in ranks) / len(ranks)
    return recall, sum(1 / rank for rank in ranks if rank) / len(ranks)


def test_each_question_names_a_section_of_the_corpus() -> None:
    assert len(QUESTIONS) == 60
    assert sum(question.held_out for question in QUESTIONS) == 30
    for question in QUESTIONS:
        assert f"\n## {question.heading}\n" in (CORPUS / question.file).read_text(encoding="utf-8")


@pytest.mark.stress(part="retrieval-quality")
@pytest.mark.timeout(1800)
def test_hybrid_is_about_as_good_as_the_better_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard
) -> None:
    articles = shutil.copytree(CORPUS, tmp_path / "corpus", ignore=shutil.ignore_patterns("*.json"))
    monkeypatch.setenv("MLXK_WHEELS", str(WHEELS))
    app = mlxknife.open_app(hub_cache=tmp_path / "hub", workspace_home=tmp_path / "home")
    with wheels_in_use():
        app.starter_puller.execute(app.starter_puller.plan("starter-embed"))
    figures, best = dict[str, float | str](), dict[SearchMode, tuple[float, float]]()
    with app.indexes.open(str(tmp_path / "an.index"), model="starter-embed", is_created=True) as index:
        report = index.update([str(articles)])
        for mode in SearchMode:
            recall, mrr = best[mode] = measured(index, mode, held_out=True)
            tuned = measured(index, mode, held_out=False)
            figures[mode.value] = (
                f"held out: recall@5 {recall:.3f}, MRR {mrr:.3f}; tuned on: {tuned[0]:.3f}, {tuned[1]:.3f}"
            )
    scorecard.record(counts={"questions": len(QUESTIONS), "chunks": report.info.chunks}, figures=figures)
    for place in (0, 1):
        others = max(best[SearchMode.VECTOR][place], best[SearchMode.TEXT][place])
        assert best[SearchMode.HYBRID][place] >= others - MARGIN, figures
