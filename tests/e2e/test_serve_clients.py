"""Widely used clients, unmodified, against a real server: OpenAI's, LiteLLM, LangChain and curl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import clients
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import chat
from tests.parrot import ANSWERS, answers

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "sk-parrot"
REASONING = "First 17 + 20 = 37. Then 37 + 5 = 42."
SUM = "The sum is 42."
PARIS = ANSWERS[answers.CAPITAL]
_SCRIPTS = Path(clients.__file__).parent
_TIMEOUT = 120
"""Seconds; importing LiteLLM alone takes some."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--model", "parrot", MLXK_API_KEY=KEY) as made:
        yield made


def ran(server: Server, script: str, requirements: tuple[str, ...] = clients.OTHERS) -> Any:  # noqa: ANN401 - whatever it prints
    """Run a script with the clients, by default those of this run; return the document that it prints last."""
    interpreter = str(clients.python(requirements)) if requirements else sys.executable
    done = subprocess.run(
        [interpreter, str(_SCRIPTS / script), server.url, "parrot", KEY],
        env=server.machine.bare_environment() | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"},
        cwd=server.machine.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=_TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


_STRESS = pytest.mark.stress(part="clients")  # installing its packages takes minutes
_OLDER = [pytest.param(one, marks=_STRESS) for one in (clients.NEWER, clients.OTHERS)]


@pytest.fixture(scope="module", params=[(), *_OLDER])
def openai(server: Server, request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    return ran(server, "openai_client.py", request.param)


def test_openais_client_reads_models_chats_and_completions(openai: Any) -> None:  # noqa: ANN401
    found = openai
    assert found["models"] == ["parrot"]
    assert (found["retrieved"]["id"], found["retrieved"]["object"]) == ("parrot", "model")
    assert found["raw"]["id"].startswith("req_")
    assert found["raw"]["text"] == PARIS
    chats = found["chats"]
    assert (chats["content"], chats["reasoning"]) == (SUM, REASONING)
    assert (chats["heard"], chats["thought"]) == (SUM, REASONING)
    assert (chats["finish"], chats["tops"]) == (["stop", "stop"], [2])
    assert chats["usage"] > chats["streamed_usage"] > 0
    helpers = found["helpers"]
    assert (helpers["final"], helpers["aside"]) == (PARIS, PARIS)
    assert {"chunk", "content.delta", "content.done"} <= set(helpers["kinds"])
    texts = found["texts"]
    assert (texts["text"], texts["tokens"]) == (PARIS, PARIS)
    assert texts["heard"] == [texts["prompt"] + PARIS] * 2


def test_openais_client_raises_its_own_errors_for_refusals(openai: Any) -> None:  # noqa: ANN401
    refusals = openai["refusals"]
    found = {name: (one["class"], one["param"], one["code"]) for name, one in refusals.items()}
    assert found == {
        "model": ("NotFoundError", "model", "model_not_found"),
        "tools": ("BadRequestError", "tools[0].type", found["tools"][2]),
        "stop": ("BadRequestError", "stop", found["stop"][2]),
        "long": ("BadRequestError", "messages", "context_length_exceeded"),
        "key": ("AuthenticationError", None, "invalid_api_key"),
        "suffix": ("BadRequestError", "suffix", found["suffix"][2]),
        "embeddings": ("UnprocessableEntityError", "model", "model_not_runnable"),
        "retrieve": ("NotFoundError", "model", "model_not_found"),
    }
    assert "prompt is too long" in refusals["long"]["message"]
    assert all(one["has_id"] for one in refusals.values())


@_STRESS
def test_litellm_reads_answers_and_errors(server: Server) -> None:
    found = ran(server, "litellm_client.py")
    assert (found["content"], found["answer"], found["thought"]) == (PARIS, SUM, REASONING)
    assert (found["heard"], found["heard_thought"]) == (SUM, REASONING)
    assert found["text"] == ANSWERS[answers.GREETING]
    assert found["usage"] > 0
    assert found["refusals"] == {"stop": ["BadRequestError", 400], "model": ["NotFoundError", 404]}


@_STRESS
def test_langchain_reads_answers_and_errors(server: Server) -> None:
    found = ran(server, "langchain_client.py")
    assert (found["content"], found["heard"], found["text"]) == (PARIS, PARIS, PARIS)
    assert found["several"] == [PARIS, ANSWERS[answers.GREETING]]
    assert found["finish"] == "stop"
    assert found["usage"] > 0
    assert found["streamed_usage"] > 0
    assert found["refusal"].startswith("stop")


def curl(server: Server, arguments: str, path: str, **variables: str) -> str:
    """Return the output of curl; its arguments may contain ``$KEY``, ``$URL`` and the given variables."""
    line = f'curl -sS --noproxy "*" {arguments} "$URL"'
    return server.machine.shell(line, KEY=KEY, URL=server.url + path, **variables).out


def test_curl_reads_a_stream_and_needs_the_key(server: Server) -> None:
    body = json.dumps(chat("parrot", answers.GREETING, stream=True))
    key = '-H "Authorization: Bearer $KEY"'
    output = curl(server, f'-N -H "Content-Type: application/json" {key} -d "$BODY"', "/v1/chat/completions", BODY=body)
    *events, done, rest = output.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == ANSWERS[answers.GREETING]
    listed = json.loads(curl(server, key, "/v1/models"))
    assert [one["id"] for one in listed["data"]] == ["parrot"]
    assert curl(server, '-o /dev/null -w "%{http_code}"', "/v1/models") == "401"
