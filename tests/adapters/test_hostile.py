"""Hostile caches: nothing outside of a model is read, nothing blocks, nothing crashes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxknife import Integrity
from tests.adapters.stage import GOOD, SICK, Stage
from tests.builder import BuiltModel, CacheBuilder, chat_files, json_bytes, raw_safetensors, write_workspace

SECRET = "correct-horse-battery-staple"
SECRETIVE = chat_files(secret=SECRET, max_position_embeddings=31337) | {
    "README.md": f"---\nlicense: {SECRET}\nbase_model: {SECRET}\n---\n".encode()
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Give a model outside of the cache, whose files must not be read."""
    return write_workspace(tmp_path / "outside", SECRETIVE)


def replaced(path: Path, target: str | Path) -> None:
    """Replace a file or folder by a link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


def absolute(model: BuiltModel, outside: Path) -> None:
    replaced(model.snapshot / "config.json", outside / "config.json")


def relative(model: BuiltModel, outside: Path) -> None:
    replaced(model.snapshot / "config.json", os.path.relpath(outside / "config.json", model.snapshot))


def through_a_blob(model: BuiltModel, outside: Path) -> None:
    replaced(model.blob("config.json"), outside / "config.json")


def through_a_folder(model: BuiltModel, outside: Path) -> None:
    (model.snapshot / "inner").symlink_to(outside)
    replaced(model.snapshot / "config.json", "inner/config.json")


def through_the_root(model: BuiltModel, outside: Path) -> None:
    replaced(model.snapshot / "config.json", f"/proc/self/root{outside}/config.json")


def through_two_links(model: BuiltModel, outside: Path) -> None:
    (model.repo / "way-out").symlink_to(outside)
    replaced(model.snapshot / "config.json", "../../way-out/config.json")


def into_another_model(model: BuiltModel, outside: Path) -> None:
    del outside
    other = CacheBuilder(model.repo.parent).model("other/model", SECRETIVE)
    replaced(model.snapshot / "config.json", other.snapshot / "config.json")
    shutil.rmtree(other.repo / "refs")
    shutil.move(other.repo, model.repo.parent / "not-a-model")
    replaced(model.snapshot / "config.json", "../../../not-a-model/snapshots/" + other.commit + "/config.json")


def linked_snapshot(model: BuiltModel, outside: Path) -> None:
    replaced(model.snapshot, outside)


def linked_snapshots(model: BuiltModel, outside: Path) -> None:
    (outside.parent / "snapshots").mkdir()
    outside.rename(outside.parent / "snapshots" / model.commit)
    replaced(model.repo / "snapshots", outside.parent / "snapshots")


def linked_blobs(model: BuiltModel, outside: Path) -> None:
    name = model.blob("config.json").name
    (outside / "config.json").rename(outside / name)
    replaced(model.repo / "blobs", outside)


LINKS = (
    absolute, relative, through_a_blob, through_a_folder, through_the_root, through_two_links, into_another_model,
    linked_snapshot, linked_snapshots, linked_blobs,
)  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_no_link_reads_files_outside_of_the_model(
    stage: Stage, outside: Path, link: Callable[[BuiltModel, Path], None]
) -> None:
    stage.good_models()
    link(stage.model(), outside)
    models = stage.listed()
    assert models.keys() == {*GOOD, SICK}
    assert not models[SICK].integrity.healthy
    assert models[SICK].reason
    assert models[SICK].traits.context_length != 31337
    details = stage.app().catalog.show(SICK)
    assert SECRET not in repr(details)
    assert str(outside) not in repr(details)


@pytest.mark.parametrize("file", ["README.md", "tokenizer_config.json", "model.safetensors", "tokenizer.json"])
def test_no_file_of_a_model_is_read_through_a_link_outside(stage: Stage, outside: Path, file: str) -> None:
    (outside / file).write_bytes(SECRETIVE[file])
    replaced(stage.model(chat_files(card=True)).snapshot / file, outside / file)
    details = stage.app().catalog.show(SICK)
    assert SECRET not in repr(details)
    assert (details.info.integrity, details.info.reason) == (
        Integrity.CORRUPT,
        f"link leading outside the model: {file}",
    )


def test_a_workspace_does_not_read_outside_either(stage: Stage, outside: Path) -> None:
    folder = stage.workspace("mine")
    replaced(folder / "config.json", outside / "config.json")
    replaced(folder / ".mlxk_workspace.json", outside / "origin.json")
    (outside / "origin.json").write_bytes(json_bytes({"source_repo": SECRET}))
    details = stage.app().catalog.show("mine")
    assert SECRET not in repr(details)
    assert details.info.reason == "link leading outside the model: config.json"


def test_a_link_for_a_ref_is_not_followed(stage: Stage, outside: Path) -> None:
    model = stage.model()
    (outside / "ref").write_text(SECRET)
    replaced(model.ref(), outside / "ref")
    assert stage.only().reason == "refs/main does not hold a commit hash"
    assert SECRET not in repr(stage.only())


@pytest.mark.parametrize("part", ["snapshots", "refs", "blobs"])
def test_a_link_in_place_of_a_part_of_the_repo(stage: Stage, tmp_path: Path, part: str) -> None:
    stage.good_models()
    model = stage.model()
    (model.repo / part).rename(tmp_path / "elsewhere")
    (model.repo / part).symlink_to(tmp_path / "elsewhere")
    models = stage.listed()
    assert models.keys() == {*GOOD, SICK}
    assert not models[SICK].integrity.healthy
    assert models[SICK].reason


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "README.md", "tokenizer.json"])
def test_a_socket_in_place_of_a_file(stage: Stage, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stage.model(chat_files(card=True))
    (model.snapshot / file).unlink()
    monkeypatch.chdir(model.snapshot)  # the address of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file)
        assert stage.only().reason == f"not a regular file: {file}"


NESTED = b"[" * 90_000
DEEP_OBJECT = b'{"a":' * 90_000


@pytest.mark.parametrize(
    "file",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "x.safetensors.index.json"],
)
@pytest.mark.parametrize(
    "data",
    [NESTED, NESTED + b"]" * 90_000, DEEP_OBJECT + b"1" + b"}" * 90_000, b'{"a": %s}' % (NESTED + b"]" * 90_000)],
    ids=["open", "list", "object", "list in an object"],
)
def test_endless_nesting_is_damage_and_no_crash(stage: Stage, file: str, data: bytes) -> None:
    stage.good_models()
    stage.model(chat_files() | {file: data})
    sick = stage.listed()[SICK]
    assert sick.integrity is Integrity.CORRUPT
    assert (sick.reason or "").startswith(f"{file} is n"), sick.reason


@pytest.mark.parametrize(
    "header",
    [
        NESTED + b"]" * 90_000,
        DEEP_OBJECT + b"1" + b"}" * 90_000,
        b"[]",
        b'{"w": 1}',
        b'{"w": {"dtype": "F16", "shape": [1e400], "data_offsets": [0, 2]}}',
        b'{"w": {"dtype": "F16", "shape": [-1, -1], "data_offsets": [0, 2]}}',
        b'{"w": {"dtype": "F16", "shape": [1], "data_offsets": [-2, 0]}}',
        b'{"w": {"dtype": "F16", "shape": [1], "data_offsets": [99999999999999999999, 99999999999999999999]}}',
        b'{"w": {"dtype": "X9", "shape": [1], "data_offsets": [0, 2]}}',
        b'{"__metadata__": {"format": 3}}',
        b'{"\xff": {}}',
        bytes(8),
    ],
    ids=lambda header: header[:24].decode("latin-1").encode("unicode_escape").decode(),
)
def test_an_invalid_header_is_damage_and_no_crash(stage: Stage, header: bytes) -> None:
    stage.model(chat_files() | {"model.safetensors": raw_safetensors(header, bytes(2))})
    sick = stage.only()
    assert sick.integrity is Integrity.CORRUPT
    assert (sick.reason or "").startswith("model.safetensors: ")


def test_a_config_with_numbers_that_are_no_json_is_valid_for_python(stage: Stage) -> None:
    config = chat_files()["config.json"][:-1] + b', "scale": NaN, "high": Infinity, "low": -Infinity, "big": 1e999}'
    stage.model(chat_files() | {"config.json": config})
    model = stage.only()
    assert (model.integrity, model.runtime_compatible, model.traits.context_length) == (
        Integrity.STRUCTURAL,
        True,
        2048,
    )


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": ["llama"], "architectures": {"a": 1}},
        {"model_type": 7, "architectures": [7, None], "quantization": [], "vision_config": "x"},
        {"model_type": "llama", "quantization": {"bits": "4", "group_size": -1}, "text_config": 3},
        {"model_type": "llama", "max_position_embeddings": "many", "auto_map": 0, "quantization": True},
        {"model_type": "../../etc/passwd\u001b[31m"},
        {"model_type": ""},
    ],
)
def test_a_config_of_the_wrong_types_is_no_crash(stage: Stage, config: dict[str, object]) -> None:
    stage.good_models()
    stage.model(chat_files() | {"config.json": json_bytes(config)})
    assert stage.listed().keys() == {*GOOD, SICK}
    assert stage.app().catalog.show(SICK).config == config


def test_a_config_of_a_terabyte_is_not_read(stage: Stage) -> None:
    model = stage.model()
    with model.blob("config.json").open("r+b") as file:
        file.truncate(2**40)
    assert stage.only().reason == "config.json is too large"


def test_folders_nested_too_deeply_are_damage(stage: Stage) -> None:
    stage.good_models()
    (stage.model().snapshot / "/".join("d" * 400)).mkdir(parents=True)
    assert stage.listed().keys() == {*GOOD, SICK}
    assert stage.listed()[SICK].reason == "too many files or folders to be one model"


CONTROL_CHARACTERS = (
    "\x1b[31mred",
    "\u202eright-to-left",
    "bell\x07",
    "two\nlines",
    "\x9b31m",
    "del\x7f",
    "lone\udcff",
)


@pytest.mark.parametrize("text", CONTROL_CHARACTERS, ids=ascii)
def test_a_folder_with_control_characters_has_a_printable_name(stage: Stage, text: str) -> None:
    stage.good_models()
    stage.model().repo.rename(stage.hub / f"models--org--{text}")
    stage.workspace("plain").rename(stage.home / text)
    names = stage.listed().keys() - set(GOOD)
    assert len(names) == 2
    for name in names:
        assert name.isascii()
        assert name.isprintable()
        assert stage.app().catalog.show(name).info == stage.listed()[name]
