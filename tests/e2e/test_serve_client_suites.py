"""Tools and structured output with the real clients, unmodified: the suites of ``tests/clients/suites``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clients
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving, starter_in
from tests.scorecard import Scorecard

KEY = "sk-parrot"
_TIMEOUT = 1500
"""Seconds in which a suite ends on a busy machine."""
_SUITES = (
    "instructor_suite.py",
    "langchain_suite.py",
    "llm_suite.py",
    "openai_agents_suite.py",
    "openai_suite.py",
    "pydantic_ai_suite.py",
    "vercel_suite.mjs",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    return machine


@pytest.fixture(scope="module")
def server(home: Machine) -> Iterator[Server]:
    with serving(home, "--model", "parrot", MLXK_API_KEY=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def starter(home: Machine) -> None:
    starter_in(home)


def surroundings(server: Server, **variables: str) -> dict[str, str]:
    """Return the environment of a suite; of the caller it has what every process needs."""
    where = {"CLIENT_URL": server.url, "CLIENT_KEY": KEY, "CLIENT_PARROT": "parrot"}
    return {**server.machine.bare_environment(), **where, **variables}


def test_openais_client_uses_tools_and_structured_output(server: Server, tmp_path: Path) -> None:
    report = clients.run_suite_here("openai_suite.py", tmp_path, surroundings(server), _TIMEOUT)
    assert not report.failed, report.output
    assert report.passed
    assert set(report.skipped.values()) == {"the starter model is not served"}


@pytest.mark.usefixtures("starter")
@pytest.mark.stress(part="client-suites")
@pytest.mark.parametrize("suite", _SUITES)
def test_a_client_passes_its_suite(server: Server, tmp_path: Path, scorecard: Scorecard, suite: str) -> None:
    missing = clients.missing_tool(suite)
    if missing is not None:
        pytest.skip(missing)
    report = clients.run_suite(suite, tmp_path, surroundings(server, CLIENT_STARTER="starter"), _TIMEOUT)
    scorecard.record(counts=report.counts, figures=report.reasons)
    scorecard.print(f"{suite}: {report.counts}")
    for test, reason in report.reasons.items():
        scorecard.print(f"  {test}: {reason}")
    assert not report.failed, report.output
    assert report.passed
