"""Named pipes and devices in place of files: no command blocks on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builder import BuiltModel, chat_files, sharded_files
from tests.e2e.processes import Machine


def of_snapshot(name: str) -> Callable[[BuiltModel], Path]:
    return lambda model: model.snapshot / name


def of_repo(name: str) -> Callable[[BuiltModel], Path]:
    return lambda model: model.repo / name


def manifest(model: BuiltModel) -> Path:
    return model.repo / "trees" / f"{model.commit}.json"


PLACES = {
    "config.json": of_snapshot("config.json"),
    "tokenizer.json": of_snapshot("tokenizer.json"),
    "model.safetensors": of_snapshot("model-00001-of-00003.safetensors"),
    "index": of_snapshot("model.safetensors.index.json"),
    "card": of_snapshot("README.md"),
    "ref": of_repo("refs/main"),
    "refs": of_repo("refs"),
    "snapshots": of_repo("snapshots"),
    "blobs": of_repo("blobs"),
    "manifest": manifest,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_pipe_in_place_of_a_file_does_not_block(machine: Machine, place: Callable[[BuiltModel], Path]) -> None:
    machine.cache.model("org/good")
    model = machine.cache.model("org/odd", sharded_files() | {"README.md": chat_files(card=True)["README.md"]})
    path = place(model)
    if path.exists():
        path.rename(machine.root / "moved-aside")
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    assert machine.run("list", "--json").names() == ["org/good", "org/odd"]
    assert machine.run("health", "--json").code == machine.run("show", "org/odd", "--config", "--json").code == 0


@pytest.mark.parametrize("name", [".mlxk_workspace.json", "config.json", "README.md"])
def test_a_pipe_in_a_workspace_does_not_block(machine: Machine, name: str) -> None:
    folder = machine.workspace("mine")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert machine.run("list", "--json").names() == ["mine"]
    assert machine.run("show", str(folder), "--json").code == 0


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "/dev/tty"])
def test_a_link_to_a_device_is_never_read(machine: Machine, device: str) -> None:
    for file in ("config.json", "model.safetensors"):
        model = machine.cache.model(f"org/{file}")
        (model.snapshot / file).unlink()
        (model.snapshot / file).symlink_to(device)
    health = machine.run("health", "--json").data()["unhealthy"]
    assert isinstance(health, list)
    assert [entry["reason"] for entry in health] == [
        "link leading outside the model: config.json",
        "link leading outside the model: model.safetensors",
    ]
