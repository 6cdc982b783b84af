"""Models that the server was started with, whose folders go away and come back while it runs."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import eventually, serving
from tests.parrot import ANSWERS, answers, parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_a_folder_that_goes_is_not_served_and_what_comes_in_its_place_is(machine: Machine) -> None:
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
