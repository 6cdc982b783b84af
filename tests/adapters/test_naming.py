"""Names: the model that a spec resolves to on a real disk, and the specs that are refused before the disk is read."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlxknife
from mlxknife import AmbiguousMatch, App, KnifeError, ModelNotFound, StorageError, ValidationError
from tests.adapters.stage import Stage
from tests.builder import commit_of, write_workspace


def resolved(stage: Stage, spec: str) -> str:
    return stage.app().catalog.show(spec).info.name


def test_an_exact_name_is_never_ambiguous(stage: Stage) -> None:
    stage.model(name="gpt2")
    stage.workspace("gpt2-xl")
    assert resolved(stage, "gpt2") == "gpt2"
    assert resolved(stage, "gpt2-xl") == "gpt2-xl"
    assert [entry.name for entry in stage.app().health.check("gpt2").entries] == ["gpt2"]
    assert {model.name for model in stage.app().catalog.list("gpt2")} == {"gpt2", "gpt2-xl"}
    with pytest.raises(AmbiguousMatch) as caught:
        resolved(stage, "GPT2")
    assert caught.value.matches == ("gpt2", "gpt2-xl")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("org/model", "org/model"),
        ("model", "org/model"),
        ("MODEL", "org/model"),
        ("Org/Mod", "org/model"),
        ("twin", "mlx-community/twin"),
        ("other/twin", "other/twin"),
        ("both", "both"),
        ("experiment", "my-experiment"),
        ("Zwilling", "ämter/Zwilling-ÄÖ"),
        ("zwilling-äö", "ämter/Zwilling-ÄÖ"),
    ],
)
def test_a_spec_means_one_model(stage: Stage, spec: str, name: str) -> None:
    for cached in ("org/model", "other/twin", "mlx-community/twin", "org/both"):
        stage.model(name=cached)
    for workspace in ("both", "my-experiment", "ämter-Zwilling-ÄÖ"):
        stage.workspace(workspace)
    assert resolved(stage, spec) == name.replace("ämter/", "ämter-")


def test_a_bare_name_of_two_owners_is_ambiguous(stage: Stage) -> None:
    for name in ("one/twin", "two/twin", "three/twin-large"):
        stage.model(name=name)
    with pytest.raises(AmbiguousMatch) as caught:
        resolved(stage, "twin")
    assert (caught.value.message, caught.value.matches) == ("Multiple models match 'twin'", ("one/twin", "two/twin"))


def test_a_part_of_a_cached_name_and_of_a_workspace_is_ambiguous(stage: Stage) -> None:
    stage.model(name="org/tiny-chat")
    stage.workspace("tiny-copy")
    with pytest.raises(AmbiguousMatch) as caught:
        resolved(stage, "tiny")
    assert caught.value.matches == ("org/tiny-chat", "tiny-copy")


def test_the_nearest_name_is_suggested(stage: Stage) -> None:
    stage.model(name="mlx-community/Llama-3.2-1B-Instruct-4bit")
    with pytest.raises(ModelNotFound) as caught:
        resolved(stage, "Llamma-3.2-1B-Instruct-4bit")
    assert caught.value.suggestions == ("mlx-community/Llama-3.2-1B-Instruct-4bit",)
    with pytest.raises(ModelNotFound) as short:
        resolved(stage, "Lamma-3.2")
    assert short.value.suggestions == ("mlx-community/Llama-3.2-1B-Instruct-4bit",)


def test_prefixes_of_commits(stage: Stage) -> None:
    one, two = "abcd" + commit_of("1")[4:], "abce" + commit_of("2")[4:]
    for commit in (one, two):
        stage.cache.model("org/model", commit=commit)
    catalog = stage.app().catalog
    assert catalog.show("org/model@abcd").info.commit == one
    assert catalog.show("MODEL@ABCE").info.commit == two
    with pytest.raises(AmbiguousMatch) as caught:
        catalog.show("model@abc")
    assert caught.value.available_hashes == (one, two)
    with pytest.raises(ModelNotFound) as missed:
        catalog.show("model@ab")
    assert missed.value.available_hashes == (one, two)


def test_a_workspace_has_no_revisions(stage: Stage) -> None:
    stage.workspace("experiment")
    with pytest.raises(ModelNotFound, match="has no revisions"):
        resolved(stage, "experiment@main")


REFUSED = {
    "empty": "",
    "blank": "  ",
    "no name": "@abc",
    "no revision": "org/model@",
    "dots inside": "org/../model",
    "dots at the end": "org/..",
    "two dots": "org/a..b",
    "dots in the revision": "org/model@../../x",
    "two slashes": "org//model",
    "slash at the end": "org/model/",
    "absolute revision": "org/model@/etc/passwd",
    "backslash": "org\\model",
    "NUL": "org/mo\0del",
    "NUL in the revision": "org/model@ab\0c",
    "NUL in a path": "./mo\0del",
    "ESC": "org/\x1b[31mmodel",
    "ESC in the revision": "org/model@\x1b[31m",
    "C1 escape": "org/\x9b31mmodel",
    "newline": "org/model\nmodel",
    "bidi": "org/\u202emodel",
    "half a surrogate": "org/\udcff",
    "97 characters": "o/" + "m" * 95,
    "256 characters of revision": "org/model@" + "r" * 256,
}


@pytest.fixture
def no_disk(tmp_path: Path) -> App:
    """Open the library on a cache and a home that are files: reading either raises StorageError."""
    for name in ("hub", "home"):
        (tmp_path / name).write_bytes(b"not a folder")
    app = mlxknife.open_app(hub_cache=tmp_path / "hub", workspace_home=tmp_path / "home", environment={})
    with pytest.raises(StorageError):
        app.catalog.show("org/model")
    return app


@pytest.mark.parametrize("spec", REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_name_is_refused_before_the_disk_is_read(no_disk: App, spec: str) -> None:
    for ask in (no_disk.catalog.show, no_disk.health.check):
        with pytest.raises(ValidationError) as caught:
            ask(spec)
        assert caught.value.message
        assert caught.value.code == "ValidationError"


def test_96_characters_are_a_name(no_disk: App) -> None:
    with pytest.raises(StorageError):
        no_disk.catalog.show("o/" + "m" * 94)


def test_the_message_names_the_length(no_disk: App) -> None:
    with pytest.raises(ValidationError, match="too long: 97/96 characters"):
        no_disk.catalog.show("m" * 97)


@pytest.mark.parametrize("spec", ["./nothing", "../nothing", "/no/such/folder", "~/no-such-folder", "~nobody-at-all/x"])
def test_a_path_is_looked_up_as_a_path(
    no_disk: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound, match="No model folder at"):
        no_disk.catalog.show(spec)


def test_a_file_is_no_model_folder(no_disk: App, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(StorageError, match="Not a model folder but a file"):
        no_disk.catalog.show(str(tmp_path / "weights.bin"))


@pytest.mark.parametrize("spec", ["/" + "x" * 300, "./" + "x/" * 3000])
def test_a_path_longer_than_the_system_allows_is_no_crash(no_disk: App, spec: str) -> None:
    with pytest.raises(KnifeError) as caught:
        no_disk.catalog.show(spec)
    assert caught.value.code in ("FilesystemError", "model_not_found")


def test_every_way_to_write_a_path_leads_to_the_same_workspace(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_workspace(tmp_path / "desk" / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder.parent)
    for spec in ("./mine", "./mine/", "mine", "../desk/mine", "~/desk/mine", str(folder), "/".join((str(folder), "."))):
        assert resolved(stage, spec) == str(folder)


def test_a_workspace_of_the_home_has_its_bare_name(stage: Stage) -> None:
    folder = stage.workspace("mine")
    assert resolved(stage, str(folder)) == resolved(stage, "mine") == "mine"


def test_a_workspace_named_like_a_cached_model_is_named_by_its_path(stage: Stage) -> None:
    stage.model(name="gpt2")
    folder = stage.workspace("gpt2")
    assert stage.listed().keys() == {"gpt2", str(folder)}
    assert stage.app().catalog.show("gpt2").info.cached
    assert resolved(stage, str(folder)) == str(folder)


@pytest.mark.parametrize(
    "folder", ["with space", "at@sign", "percent%20", "tilde~", "~tilde", "dots..dots", "-dash", "quote'", "q" * 200]
)
def test_the_name_of_every_workspace_resolves_to_it(stage: Stage, folder: str) -> None:
    stage.workspace(folder)
    (name,) = stage.listed()
    assert resolved(stage, name) == name


def test_a_folder_with_an_at_sign_that_holds_a_model_is_a_path(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_workspace(tmp_path / "model@home")
    monkeypatch.chdir(tmp_path)
    assert resolved(stage, "./model@home") == str(folder)
