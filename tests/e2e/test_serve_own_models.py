"""Models that the server was started with, whose folders are removed and replaced while it runs."""

from __future__ import annotations

import shutil

import pytest

from mlxknife.wiring.app import open_app
from tests.e2e.processes import Machine
from tests.e2e.serving import eventually, serving
from tests.parrot import ANSWERS, answers, parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_a_removed_folder_is_not_served_and_its_replacement_is(machine: Machine) -> None:
    folder = machine.root / "elsewhere" / "bird"
    shutil.copytree(parrot_folder(), folder)
    with serving(machine, "--model", str(folder), "--max-loaded", "1") as server:
        assert server.chat("bird", answers.CAPITAL).text() == ANSWERS[answers.CAPITAL]
        before = server.worker()
        folder.rename(folder.with_name("gone"))
        eventually(lambda: server.chat("bird", answers.CAPITAL).status == 404)
        error = server.chat("bird", answers.CAPITAL).error()
        assert (error["type"], error["param"]) == ("model_not_found", "model")
        assert "elsewhere" not in error["message"]
        eventually(lambda: server.ask("/v1/models").document()["data"] == [])
        shutil.copytree(parrot_folder(), folder)
        assert server.chat("bird", answers.CAPITAL).text() == ANSWERS[answers.CAPITAL]
        assert server.worker() != before, "another folder is another model"
        eventually(lambda: [one["id"] for one in server.ask("/v1/models").document()["data"]] == ["bird"])


def test_a_file_that_is_overwritten_in_place_makes_another_model(machine: Machine) -> None:
    """With the same name, size and inode, as ``cp`` does it."""
    folder = machine.root / "bird"
    shutil.copytree(parrot_folder(), folder)
    app = open_app(hub_cache=machine.root / "hub", workspace_home=machine.root / "workspaces", environment={})
    before = app.servable_models().pin(str(folder)).key
    assert app.servable_models().pin(str(folder)).key == before
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    with weights.open("r+b") as file:
        file.write(data[:-1] + bytes([data[-1] ^ 1]))
    assert app.servable_models().pin(str(folder)).key != before
