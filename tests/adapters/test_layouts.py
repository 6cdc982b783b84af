"""The layouts of huggingface_hub: links, shared blobs, plain files, several snapshots and refs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mlxknife import Integrity, ModelNotFound
from tests.adapters.stage import Stage
from tests.builder import Layout, chat_files, commit_of, gguf_files, safetensors, sharded_files

OLD, NEW, OTHER = commit_of("old"), commit_of("new"), commit_of("other")
EVERY_LAYOUT = pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name.lower())


def total(files: dict[str, bytes]) -> int:
    return sum(map(len, set(files.values())))


@EVERY_LAYOUT
def test_a_model_is_complete_in_every_layout(stage: Stage, layout: Layout) -> None:
    stage.cache.model("org/model", sharded_files(), layout=layout)
    model = stage.only()
    assert (model.name, model.integrity, model.commit) == ("org/model", Integrity.STRUCTURAL, commit_of("org/model"))
    assert model.size_bytes == total(sharded_files())


@EVERY_LAYOUT
def test_truncated_weights_are_found_in_every_layout(stage: Stage, layout: Layout) -> None:
    built = stage.cache.model("org/model", layout=layout)
    weights = (built.snapshot / "model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:-1])
    assert stage.only().reason == "model.safetensors: truncated: 1 bytes of weights missing"


def test_the_shared_store_is_no_model(stage: Stage) -> None:
    stage.cache.model("org/model", layout=Layout.SHARED)
    assert (stage.hub / "blobs").is_dir()
    assert list(stage.listed()) == ["org/model"]


def test_a_missing_blob_of_the_shared_store_is_damage(stage: Stage) -> None:
    stage.cache.model("org/model", layout=Layout.SHARED)
    shutil.rmtree(stage.hub / "blobs")
    assert stage.only().reason == "dangling link: model.safetensors"


def test_models_that_share_a_blob_each_have_their_whole_size(stage: Stage) -> None:
    for name in ("org/one", "org/two"):
        stage.cache.model(name, chat_files(), layout=Layout.SHARED)
    stored = [path for path in (stage.hub / "blobs").glob("*/*") if path.is_file()]
    assert len(stored) == 1
    assert {model.size_bytes for model in stage.listed().values()} == {total(chat_files())}


@EVERY_LAYOUT
def test_a_blob_with_two_names_is_counted_once(stage: Stage, layout: Layout) -> None:
    weights = safetensors({"w": ("F32", (500,))})
    built = stage.cache.model("org/model", chat_files() | {"model.safetensors": weights}, layout=layout)
    once = stage.only().size_bytes
    if layout is Layout.PLAIN:
        os.link(built.snapshot / "model.safetensors", built.snapshot / "copy.safetensors")
    else:
        (built.snapshot / "copy.safetensors").symlink_to((built.snapshot / "model.safetensors").readlink())
    assert len(stage.app().catalog.show("org/model").files) == len(chat_files()) + 1
    assert stage.only().size_bytes == once


def two_snapshots(stage: Stage) -> None:
    """Write an older snapshot with a smaller context and a newer one, both without a ref."""
    for commit, context, age in ((OLD, 1024, 1000), (NEW, 4096, 2000)):
        files = chat_files(max_position_embeddings=context)
        built = stage.cache.model("org/model", files, commit=commit, ref=None)
        os.utime(built.snapshot, (age, age))


def ref(stage: Stage, name: str, commit: str, age: int = 0) -> None:
    path = stage.hub / "models--org--model" / "refs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(commit)
    os.utime(path, (age, age))


def test_without_refs_the_newest_snapshot_stands_for_the_model(stage: Stage) -> None:
    two_snapshots(stage)
    model = stage.only()
    assert (model.commit, model.traits.context_length, model.modified) == (NEW, 4096, 2000)


def test_main_wins_over_everything_newer(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "main", OLD, age=10)
    ref(stage, "dev", NEW, age=20)
    assert stage.only().commit == OLD


def test_without_main_the_newest_ref_stands_for_the_model(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "dev", NEW, age=10)
    ref(stage, "refs/pr/1", OLD, age=20)
    assert stage.only().commit == OLD


def test_a_branch_a_tag_and_a_prefix_lead_to_their_snapshot(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "main", NEW)
    ref(stage, "release/v1", OLD)
    ref(stage, "v1.0", OLD)
    catalog = stage.app().catalog
    for revision in ("release/v1", "v1.0", OLD[:3], OLD[:12], OLD, OLD[:8].upper()):
        assert catalog.show(f"org/model@{revision}").info.commit == OLD
    for revision in ("main", NEW[:3]):
        assert catalog.show(f"org/model@{revision}").info.commit == NEW


def test_only_the_chosen_snapshot_is_judged(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "main", NEW)
    (stage.hub / "models--org--model" / "snapshots" / OLD / "config.json").unlink()
    assert stage.only().integrity is Integrity.STRUCTURAL
    (entry,) = stage.app().health.check(f"org/model@{OLD[:7]}").entries
    assert (entry.integrity, entry.reason) == (Integrity.INCOMPLETE, "config.json missing")


def test_a_ref_that_is_not_downloaded_is_not_found(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "dev", OTHER)
    with pytest.raises(ModelNotFound) as caught:
        stage.app().catalog.show("org/model@dev")
    assert set(caught.value.available_hashes or ()) == {OLD, NEW}


def test_snapshots_of_one_repo_share_their_blobs(stage: Stage) -> None:
    two_snapshots(stage)
    ref(stage, "main", NEW)
    weights = (stage.hub / "models--org--model" / "blobs").glob("?" * 64)
    assert len(list(weights)) == 1
    assert stage.only().size_bytes == total(chat_files(max_position_embeddings=4096))


def test_folders_that_are_no_models_are_not_listed(stage: Stage) -> None:
    stage.model(name="org/model")
    for folder in ("datasets--org--data", "spaces--org--app", ".locks", "version.txt.d"):
        (stage.hub / folder).mkdir()
    (stage.hub / "version.txt").write_text("1")
    assert list(stage.listed()) == ["org/model"]


def test_a_missing_cache_lists_nothing(stage: Stage) -> None:
    assert stage.listed() == {}
    assert stage.app().health.check().entries == ()


def test_the_cache_may_be_a_link_and_a_model_may_live_on_another_disk(stage: Stage, tmp_path: Path) -> None:
    built = stage.cache.model("org/model")
    built.repo.rename(tmp_path / "other-disk")
    built.repo.symlink_to(tmp_path / "other-disk")
    moved = Stage(hub=tmp_path / "linked-hub", home=stage.home)
    moved.hub.symlink_to(stage.hub)
    assert {name: model.integrity for name, model in moved.listed().items()} == {"org/model": Integrity.STRUCTURAL}


def test_workspaces_are_listed_beside_the_cache(stage: Stage) -> None:
    stage.model(name="org/model")
    stage.workspace("experiment")
    stage.workspace("one-gguf", gguf_files())
    (stage.home / "empty").mkdir()
    (stage.home / "notes.txt").write_text("no model")
    listed = stage.listed()
    assert listed.keys() == {"org/model", "experiment", "one-gguf"}
    workspace = listed["experiment"]
    assert (workspace.cached, workspace.commit, workspace.integrity) == (False, None, Integrity.STRUCTURAL)
    assert workspace.size_bytes == total(chat_files())


def test_a_workspace_has_the_origin_of_its_sentinel(stage: Stage) -> None:
    folder = stage.workspace("experiment")
    (folder / ".mlxk_workspace.json").write_text('{"source_repo": "org/model"}')
    assert stage.only().origin == "org/model"


@pytest.mark.parametrize("sentinel", [b"", b"[]", b"{}", b'{"source_repo": 3}', b"\xff\xfe", b"[" * 60_000])
def test_a_sentinel_that_cannot_be_decoded_gives_no_origin(stage: Stage, sentinel: bytes) -> None:
    folder = stage.workspace("experiment")
    (folder / ".mlxk_workspace.json").write_bytes(sentinel)
    assert (stage.only().origin, stage.only().integrity) == (None, Integrity.STRUCTURAL)
