"""A pull when the cache changes after the plan was made, and a pull without network."""

from __future__ import annotations

import pytest

from mlxknife.domain.errors import (
    HubOffline,
)
from mlxknife.domain.transfer.values import PullRequest
from tests.builder import chat_files, git_sha1, sha256
from tests.unit.pulling import FILES, FOLDER, MORE, NAME, Bench


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.hub.add(NAME, FILES)
    return bench


@pytest.fixture
def full(bench: Bench) -> Bench:
    bench.pull()
    bench.hub.requested.clear()
    return bench


# --- between the plan and its execution


def test_a_blob_deleted_after_the_plan_is_downloaded(full: Bench) -> None:
    full.hub.add(NAME, MORE)
    plan = full.puller.plan(NAME)
    full.download_store.disk.clear()
    full.puller.execute(plan)
    assert full.shown(plan.commit.commit) == MORE


def test_a_blob_changed_after_the_plan_is_repaired(full: Bench) -> None:
    full.hub.add(NAME, MORE)
    plan = full.puller.plan(NAME)
    full.download_store.write(FOLDER, sha256(FILES["a.safetensors"]), b"wrong weights")
    full.puller.execute(plan)
    assert full.shown(plan.commit.commit) == MORE
    assert set(full.hub.requested) == {"config.json", "new.txt", "a.safetensors"}


def test_a_blob_added_after_the_plan_is_not_downloaded(bench: Bench) -> None:
    plan = bench.puller.plan(NAME)
    for name in ("a.safetensors", "config.json"):
        data = FILES[name]
        bench.download_store.write(FOLDER, sha256(data) if name == "a.safetensors" else git_sha1(data), data)
    bench.puller.execute(plan)
    assert (set(bench.hub.requested), bench.shown(bench.main)) == ({"b.safetensors", "sub/x.txt"}, FILES)


def test_links_deleted_after_the_plan_are_made_again(full: Bench) -> None:
    del full.download_store.snapshots[FOLDER][full.main]["config.json"]
    plan = full.puller.plan(NAME)
    full.download_store.snapshots[FOLDER][full.main].clear()
    full.puller.execute(plan)
    assert full.shown(full.main) == FILES


def test_stamps_are_recorded_without_moving_a_ref_back(full: Bench) -> None:
    full.forget_stamps()
    plan = full.puller.plan(NAME)
    full.download_store.refs[FOLDER]["main"] = "2" * 40  # another pull stored a newer commit
    full.puller.execute(plan)
    assert (plan.is_done, plan.was_hashed) == (True, True)
    assert full.download_store.refs[FOLDER]["main"] == "2" * 40


# --- offline


def _offline(bench: Bench, files: dict[str, bytes], commit: str = "1" * 40) -> None:
    bench.hub.is_offline = True
    bench.download_store.store.add(FOLDER, refs={"main": commit, "v1": commit}, snapshots=[commit])
    bench.disk = {f"{FOLDER}/{commit}/{name}": data for name, data in files.items()}


@pytest.mark.parametrize("spec", [NAME, "name", f"{NAME}@main", f"{NAME}@v1", f"{NAME}@11111"])
def test_an_intact_model_needs_no_network(bench: Bench, spec: str) -> None:
    _offline(bench, chat_files())
    plan = bench.pull(spec)
    assert (plan.name, plan.commit.commit, plan.is_done, plan.is_offline) == (NAME, "1" * 40, True, True)
    assert bench.download_store.listings == {}


@pytest.mark.parametrize("spec", ["org/nothing", f"{NAME}@v2", "nothing"])
def test_a_model_that_is_not_cached_cannot_be_pulled_offline(bench: Bench, spec: str) -> None:
    _offline(bench, chat_files())
    with pytest.raises(HubOffline, match="not in the cache"):
        bench.puller.plan(spec)


def test_a_damaged_model_cannot_be_repaired_offline(bench: Bench) -> None:
    files = chat_files()
    _offline(bench, files | {"model.safetensors": files["model.safetensors"][:-1]})
    with pytest.raises(HubOffline, match="again"):
        bench.puller.plan(NAME)


def test_nothing_is_forced_offline(bench: Bench) -> None:
    _offline(bench, chat_files())
    with pytest.raises(HubOffline, match="again"):
        bench.puller.plan(NAME, PullRequest(force=True))
