"""docs/server.md: its commands and programs are run, and their output is compared."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxknife.cli.arguments import command_parser
from mlxknife.cli.commands import serve
from tests import clients
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving

pytestmark = pytest.mark.timeout(1200)

_PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
_ADDRESS = "http://127.0.0.1:8000"


def _sessions() -> Iterator[tuple[str, str]]:
    """Yield each command of the page and its output there."""
    for block in re.findall(r"^```console\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL):
        for session in block.removeprefix("$ ").split("\n$ "):
            lines = session.rstrip("\n").split("\n")
            end = next(
                place for place, line in enumerate(lines) if not line.endswith("\\") and _is_closed(lines, place)
            )
            yield "\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :])


def _is_closed(lines: list[str], place: int) -> bool:
    return "\n".join(lines[: place + 1]).count("'") % 2 == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("docs"))
    parrot_in(machine, "starter")
    with serving(machine, "--model", "starter") as server:
        yield server


@pytest.mark.parametrize(("command", "output"), list(_sessions()))
def test_a_command_of_the_page_prints_the_output_of_the_page(server: Server, command: str, output: str) -> None:
    if shutil.which("jq") is None or shutil.which("curl") is None:
        pytest.skip("jq or curl is not installed here")
    done = subprocess.run(
        ["bash", "-c", command.replace(_ADDRESS, server.url)], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.rstrip("\n")) == ("", output)


def test_every_option_of_the_page_exists() -> None:
    parser = command_parser("serve")
    serve.add_arguments(parser)
    offered = set(re.findall(r"--[a-z-]+", parser.format_help()))
    named = set(re.findall(r"`(--[a-z-]+)", _PAGE))
    assert named
    assert named <= offered


def test_the_mounted_application_of_the_page_works(server: Server) -> None:
    (program,) = (block for block in _programs() if "create_app" in block)
    question = "{'model': 'starter', 'messages': [{'role': 'user', 'content': 'What is the capital of France?'}]}"
    asked = f"""
from starlette.testclient import TestClient

with TestClient(site, base_url="http://127.0.0.1") as client:
    print(client.get("/llm/v1/models").json()["data"][0]["id"])
    answer = client.post("/llm/v1/chat/completions", json={question} | {{"temperature": 0}})
    print(answer.json()["choices"][0]["message"]["content"])
llm.state.server.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program + asked],
        env=server.machine.environment(HF_HOME=str(server.machine.root / "hf"), OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "starter\nThe capital of France is Paris.\n"), done.stderr


def test_the_client_program_of_the_page_works(server: Server) -> None:
    (program,) = (block for block in _programs() if "OpenAI" in block)
    done = subprocess.run(
        [sys.executable, "-c", program.replace(_ADDRESS, server.url)],
        env=server.machine.bare_environment() | {"NO_PROXY": "*"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "The capital of France is Paris.\n"), done.stderr


def test_every_option_is_in_the_table_of_settings() -> None:
    table = _PAGE.partition("## Settings")[2].partition("\n\n`MLXK2_`")[0]
    parser = command_parser("serve")
    serve.add_arguments(parser)
    offered = set(re.findall(r"^  (--[a-z-]+)", parser.format_help(), re.MULTILINE))
    assert offered - {"--json", "--debug"} == set(re.findall(r"`(--[a-z-]+)`", table))


def test_the_page_has_the_releases_of_the_clients_that_are_tested() -> None:
    table = _PAGE.partition("## Clients")[2].partition("\n## ")[0]
    tested = (*clients.NEWER, *clients.OTHERS, *clients.AGENTS, *clients.INSTRUCTOR, *clients.JAVASCRIPT)
    for requirement in tested:
        name, version = re.fullmatch(r"(.+?)(?:\[.+\])?(?:==|@)([\d.]+)", requirement).groups()  # type: ignore[union-attr]
        if name not in {"pytest", "zod"}:
            assert re.search(rf"{re.escape(name)}\b.*\b{re.escape(version)}\b", table, re.IGNORECASE), requirement


def _programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
