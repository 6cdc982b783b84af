"""The server mounted in another application, with a real model."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import chat, gathered
from tests.parrot import ANSWERS, answers

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT = "/llm/v1/chat/completions"


@pytest.fixture
def server(machine: Machine) -> Iterator[Server]:
    parrot_in(machine)
    program = (sys.executable, "-m", "tests.e2e.mounted")
    with serving(machine, program=program, PYTHONPATH=str(Path(__file__).parents[2])) as made:
        yield made


def test_it_answers_below_its_path_only(server: Server) -> None:
    assert server.ask("/own").body == b"own"
    assert server.ask("/v1/models").body == b"Not Found"
    assert [one["id"] for one in server.ask("/llm/v1/models").document()["data"]] == ["parrot"]
    assert server.ask(CHAT, chat("parrot", answers.CAPITAL)).text() == ANSWERS[answers.CAPITAL]
    streamed = gathered(server.stream(CHAT, chat("parrot", answers.REASONING, stream_options={"include_usage": True})))
    assert streamed.texts == ["The sum is 42."]
    assert server.ask("/llm/nothing").error()["type"] == server.ask("/llm/v1/nothing").error()["type"]
    assert server.ask(CHAT, chat("parrot", answers.CAPITAL, tools=[{}])).error()["param"] == "tools[0].type"
    assert server.ask("/llm/health").status == server.ask("/llm/ready").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_host_application_is_killed(server: Server, number: int) -> None:
    server.ask(CHAT, chat("parrot", answers.CAPITAL)).text()
    assert len(server.family()) >= 2, "the process of the model and that of the template"
    assert server.end(number) == -number
