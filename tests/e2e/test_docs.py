"""The pages of the documentation stay true: their sessions and programs run, and their output is compared.

``test_server_docs.py`` does the same for docs/server.md, and ``test_examples.py`` for the examples.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import sample_cache
from tests.builder import chat_files
from tests.e2e.pages import PAGES, README, ROOT, Block, blocks, commands, without_versions
from tests.e2e.processes import Machine
from tests.e2e.serving import serving
from tests.fake_hub import FakeHub
from tests.parrot import parrot_folder

pytestmark = [pytest.mark.timeout(1200), pytest.mark.allow_hosts(["127.0.0.1"])]

_TESTED_ELSEWHERE = {ROOT / "docs" / "server.md"}
_RUN_HERE = [page for page in PAGES if page not in _TESTED_ELSEWHERE]
_SESSIONS = sorted(
    {(page, block.setting) for page in _RUN_HERE for block in blocks(page) if block.language == "console"}
)
_ADDRESS = "http://127.0.0.1:8000"
_NOT_RUN = {"text", "json", "toml", "mermaid"}


@contextmanager
def prepared(setting: str, machine: Machine) -> Iterator[tuple[dict[str, str], str]]:
    """Make what the blocks of a setting need; yield their environment, and the address of the server."""
    environment, address = machine.environment(OPENBLAS_NUM_THREADS="1"), _ADDRESS
    if setting == "hub":
        with FakeHub() as hub:
            hub.add("mlx-community/tiny-chat-4bit", chat_files(card=True))
            yield environment | {"HF_ENDPOINT": hub.endpoint}, address
        return
    sample_cache.build(machine.hub, machine.home)
    if setting in ("starter", "server"):
        shutil.copytree(parrot_folder(), machine.home / "starter")
        (machine.home / "starter" / "generation_config.json").write_text(json.dumps({"temperature": 0.0}))
    if setting == "server":
        with serving(machine, "--model", "starter") as server:
            yield environment, server.url
        return
    yield environment, address


def shown(line: str, environment: Mapping[str, str], folder: Path) -> str:
    """Run a line of bash; return what it prints, on stdout and stderr alike."""
    done = subprocess.run(
        ["bash", "-c", line],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(("page", "setting"), _SESSIONS, ids=lambda value: getattr(value, "name", value) or "sample")
def test_the_sessions_of_a_page_print_what_it_shows(page: Path, setting: str, machine: Machine) -> None:
    sessions = [block.text for block in blocks(page) if (block.language, block.setting) == ("console", setting)]
    expected = [command for session in sessions for command in commands(session)]
    if any(" jq " in command.line for command in expected) and shutil.which("jq") is None:
        pytest.skip("jq is not installed here")
    with prepared(setting, machine) as (environment, address):
        printed = [
            (command.line, shown(command.line.replace(_ADDRESS, address), environment, machine.root))
            for command in expected
        ]
    assert [(line, without_versions(text)) for line, text in printed] == [
        (command.line, without_versions(command.output)) for command in expected
    ]


def _programs() -> Iterator[tuple[Path, Block, Block]]:
    """Yield every program of the pages, with the text block that shows its output."""
    for page in _RUN_HERE:
        found = blocks(page)
        for number, block in enumerate(found):
            if block.language == "python":
                yield page, block, found[number + 1]


@pytest.mark.parametrize(("page", "program", "output"), list(_programs()), ids=lambda value: getattr(value, "name", ""))
def test_a_program_prints_the_text_block_below_it(page: Path, program: Block, output: Block, machine: Machine) -> None:
    with prepared(program.setting, machine) as (environment, _):
        done = subprocess.run(
            [sys.executable, "-c", program.text],
            env=environment,
            cwd=machine.root,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, ""), page.name
    assert (output.language, done.stdout) == ("text", output.text)


def test_every_block_of_a_page_is_run_or_holds_no_commands() -> None:
    found = {(page.name, block.language) for page in _RUN_HERE for block in blocks(page)}
    assert {language for _, language in found} <= _NOT_RUN | {"console", "python"}
    assert (README.name, "console") in found
