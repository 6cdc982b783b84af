"""One damaged model never hides another: it is listed, unhealthy, with a reason that names cause and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife import Integrity
from tests.adapters.damages import DAMAGES, LFS_POINTER, Damage
from tests.adapters.stage import GOOD, SICK, Stage
from tests.builder import BuiltModel, chat_files, sharded_files

EVERY_DAMAGE = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.label)


def built(stage: Stage, damage: Damage) -> BuiltModel:
    stage.good_models()
    model = stage.model(damage.files())
    damage.harm(model)
    return model


@EVERY_DAMAGE
def test_list_shows_every_model_and_what_is_wrong_with_the_damaged_one(stage: Stage, damage: Damage) -> None:
    built(stage, damage)
    models = stage.listed()
    assert models.keys() == {*GOOD, SICK}
    assert {models[name].integrity for name in GOOD} == {Integrity.STRUCTURAL}
    sick = models[SICK]
    assert (sick.integrity, sick.runtime_compatible) == (damage.integrity, False)
    assert [word for word in damage.words if word not in (sick.reason or "")] == [], sick.reason


@EVERY_DAMAGE
def test_health_gives_the_same_verdict_as_list(stage: Stage, damage: Damage) -> None:
    built(stage, damage)
    listed, report = stage.listed()[SICK], stage.app().health.check()
    assert [entry.name for entry in report.healthy()] == list(GOOD)
    (sick,) = report.unhealthy()
    assert (sick.name, sick.integrity, sick.reason) == (SICK, listed.integrity, listed.reason)


@EVERY_DAMAGE
def test_show_describes_the_damaged_model_too(stage: Stage, damage: Damage) -> None:
    built(stage, damage)
    assert stage.app().catalog.show(SICK).info == stage.listed()[SICK]


@EVERY_DAMAGE
def test_the_same_model_undamaged_is_healthy(stage: Stage, damage: Damage) -> None:
    stage.model(damage.files())
    assert stage.only().integrity is Integrity.STRUCTURAL


def test_a_file_in_place_of_the_model_folder(stage: Stage) -> None:
    stage.good_models()
    (stage.hub / "models--sick--model").write_bytes(b"not a folder")
    models = stage.listed()
    assert models.keys() == {*GOOD, SICK}
    assert not models[SICK].integrity.healthy
    assert "is a file" in (models[SICK].reason or "")


@pytest.mark.parametrize(
    "folder",
    [
        "models--",
        "models----",
        "models--org--",
        "models----model",
        "models--org----model",
        "models--org-----model",
        "models--a--b--c",
        "models---org--model",
        "models--org--model-",
        "models--org--..",
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "empty"])
def test_a_folder_with_odd_dashes_is_listed_and_its_name_resolves_to_it(
    stage: Stage, folder: str, *, whole: bool
) -> None:
    stage.good_models()
    odd = stage.hub / folder
    if whole:
        stage.model().repo.rename(odd)
    else:
        odd.mkdir()
    models = stage.listed()
    (name,) = models.keys() - set(GOOD)
    assert models.keys() >= set(GOOD)
    assert models[name].integrity.healthy is whole
    assert stage.app().catalog.show(name).info == models[name]


def test_folders_that_differ_only_in_dashes_have_different_names(stage: Stage) -> None:
    folders = ["models--a--b", "models--a-----b", "models----a--b", "models--a--b--", "models--a---b", "models--a----b"]
    for number, folder in enumerate(folders):
        stage.model(chat_files(salt=number), name=f"x/{number}").repo.rename(stage.hub / folder)
    assert len(stage.listed()) == len(folders)


def test_an_unfinished_blob_that_no_file_needs_is_no_damage(stage: Stage) -> None:
    model = stage.model()
    (model.repo / "blobs" / ("e" * 64 + ".incomplete")).write_bytes(b"half of another revision")
    assert stage.only().integrity is Integrity.STRUCTURAL


def test_the_first_of_several_shards_that_are_pointers_is_named(stage: Stage) -> None:
    model = stage.model(sharded_files())
    model.blob("model-00001-of-00003.safetensors").write_bytes(LFS_POINTER)
    model.blob("model-00003-of-00003.safetensors").write_bytes(LFS_POINTER)
    expected = "LFS pointers instead of files: model-00001-of-00003.safetensors, model-00003-of-00003.safetensors"
    assert stage.only().reason == expected


def test_a_file_whose_size_is_not_the_recorded_one_is_corrupt(stage: Stage) -> None:
    model = stage.model()
    write_manifest(model, {"config.json": (model.snapshot / "config.json").stat().st_size})
    assert stage.only().integrity is Integrity.STRUCTURAL
    write_manifest(model, {"config.json": 3})
    assert stage.only().integrity is Integrity.CORRUPT
    assert "config.json has" in (stage.only().reason or "")


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"files": 3}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_none(stage: Stage, manifest: bytes) -> None:
    model = stage.model()
    (model.repo / "trees").mkdir()
    (model.repo / "trees" / f"{model.commit}.json").write_bytes(manifest)
    assert stage.only().integrity is Integrity.STRUCTURAL


def write_manifest(model: BuiltModel, sizes: dict[str, int]) -> Path:
    path = model.repo / "trees" / f"{model.commit}.json"
    path.parent.mkdir(exist_ok=True)
    entries = ", ".join(f'"{name}": {{"size": {size}, "blob_id": "x"}}' for name, size in sizes.items())
    path.write_text(f'{{"files": {{{entries}}}}}')
    return path
