"""Embeddings and reranking with the real clients, unmodified: the suites ``embeddings_suite`` of ``tests/clients``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clients
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, serving
from tests.embedders import write_embedder
from tests.rerankers import write_reranker
from tests.scorecard import Scorecard

KEY = "sk-embed"
_TIMEOUT = 1500
"""Seconds in which a suite ends on a busy machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    write_embedder(machine.home / "tiny-embed")
    write_reranker(machine.home / "tiny-reranker", "bert")
    with serving(machine, MLXK_API_KEY=KEY) as made:
        yield made


@pytest.mark.stress(part="client-suites")
@pytest.mark.parametrize("suite", ["embeddings_suite.py", "embeddings_suite.mjs"])
def test_a_client_passes_its_suite(server: Server, tmp_path: Path, scorecard: Scorecard, suite: str) -> None:
    missing = clients.missing_tool(suite)
    if missing is not None:
        pytest.skip(missing)
    models = {"CLIENT_EMBEDDER": "tiny-embed", "CLIENT_RERANKER": "tiny-reranker"}
    environment = {**server.machine.bare_environment(), "CLIENT_URL": server.url, "CLIENT_KEY": KEY, **models}
    report = clients.run_suite(suite, tmp_path, environment, _TIMEOUT)
    scorecard.record(counts=report.counts, figures=report.reasons)
    scorecard.print(f"{suite}: {report.counts}")
    assert not report.failed, report.output
    assert report.passed
