"""``help(mlxknife)`` leads to every service, and its examples run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from functools import cached_property

import pytest

import mlxknife
from mlxknife.adapters.workspaces.sentinel import encode
from mlxknife.adapters.workspaces.workspaces import SENTINEL
from mlxknife.domain.models.rules import starters
from mlxknife.domain.workspaces.values import Origin
from tests.builder import chat_files
from tests.e2e.processes import Machine
from tests.embedders import write_embedder
from tests.fake_hub import FakeHub
from tests.parrot import parrot_folder
from tests.rerankers import write_reranker

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_DOC = mlxknife.__doc__ or ""
_INSIDE = {"removal_store"}
"""Services that other services use."""


def _examples() -> str:
    lines = _DOC.splitlines()
    return textwrap.dedent("\n".join(line for line in lines if not line or line.startswith("    ")))


def test_the_help_of_the_package_names_every_service() -> None:
    services = {name for name, value in vars(mlxknife.App).items() if isinstance(value, cached_property)} - _INSIDE
    assert len(services) > 7
    assert [name for name in services | {"serve"} if f"``app.{name}``" not in _DOC] == []
    assert [name for name in services if f"app.{name}." not in _examples()] == []


def test_the_examples_of_the_help_run(machine: Machine) -> None:
    (machine.root / "input.txt").write_text("two words\n")
    (machine.root / "docs").mkdir()
    (machine.root / "docs" / "server.md").write_text("# The server\n\nIt listens on 127.0.0.1 only.\n")
    write_embedder(machine.home / "starter-embed")
    write_reranker(machine.home / "bge-reranker-v2-m3", "xlm-roberta")
    starter = machine.home / "starter"
    shutil.copytree(parrot_folder(), starter)
    known = starters.named("starter")
    assert known is not None
    (starter / SENTINEL).write_bytes(encode(str(starter), Origin(known.origin, "pull", None), 0.0))
    with FakeHub() as hub:
        hub.add("mlx-community/tiny-chat-4bit", chat_files(card=True))
        environment = machine.environment(OPENBLAS_NUM_THREADS="1", HF_ENDPOINT=hub.endpoint)
        assert machine.run("pull", "tiny-chat-4bit", environment=environment).code == 0
        done = subprocess.run(
            [sys.executable, "-c", _examples()],
            env=environment,
            cwd=machine.root,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mlx-community/tiny-chat-4bit structural" in done.stdout
    assert "The capital of France is Paris." in done.stdout
    assert "It listens on 127.0.0.1 only." in done.stdout
    assert list(machine.hub.glob("models--*")) == []
