from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.errors import (
    AmbiguousMatch,
    DownloadFailed,
    NetworkError,
    StorageError,
    ValidationError,
)
from mlxknife.domain.transfer.values import PullAction, PullPlan, PullRequest
from tests.builder import sha256
from tests.fakes.hub import Flaw, InMemoryHub
from tests.unit.pulling import FILES, FOLDER, MORE, NAME, SIZE, Bench


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


def _actions(plan: PullPlan) -> dict[str, PullAction]:
    return {cached.file.name: plan.action(cached) for cached in plan.cached_files}


def test_a_new_model_is_downloaded_completely(bench: Bench) -> None:
    plan = bench.puller.plan(NAME)
    assert (plan.name, plan.folder, plan.ref, plan.is_expanded) == (NAME, FOLDER, "main", False)
    assert set(_actions(plan).values()) == {PullAction.FETCH}
    assert (plan.total_bytes, plan.bytes_to_fetch, plan.is_done, plan.was_hashed) == (SIZE, SIZE, False, False)
    assert (bench.download_store.disk, bench.download_store.snapshots) == ({}, {})
    bench.puller.execute(plan)
    assert bench.shown(bench.main) == FILES
    assert bench.download_store.refs[FOLDER] == {"main": bench.main}
    assert bench.download_store.listings[FOLDER, bench.main] == plan.commit
    assert (bench.download_store.locked, bench.download_store.partials) == ([], {})


def test_a_verified_model_is_neither_downloaded_nor_hashed_again(full: Bench) -> None:
    plan = full.pull()
    assert (plan.is_done, plan.was_hashed, plan.bytes_to_fetch, plan.total_bytes) == (True, False, 0, SIZE)
    assert full.hub.requested == {}


def test_an_unverified_file_is_hashed_once(full: Bench) -> None:
    full.forget_stamps()
    assert [full.pull().was_hashed for _ in range(2)] == [True, False]
    assert full.hub.requested == {}


def test_an_intact_model_without_a_listing_gets_one(full: Bench) -> None:
    full.download_store.listings.clear()
    plan = full.pull()
    assert (plan.is_done, plan.was_hashed) == (True, False)
    assert full.download_store.listings == {(FOLDER, full.main): plan.commit}
    assert full.hub.requested == {}


def test_a_read_only_cache_is_hashed_each_time(full: Bench) -> None:
    full.forget_stamps()
    full.download_store.is_denied = True
    assert [(plan.is_done, plan.was_hashed) for plan in (full.pull(), full.pull())] == [(True, True)] * 2


@pytest.mark.parametrize("data", [b"wrong weights", b"short"])
def test_only_damaged_files_are_downloaded_again(full: Bench, data: bytes) -> None:
    full.download_store.write(FOLDER, sha256(FILES["a.safetensors"]), data)
    plan = full.pull()
    assert _actions(plan) == dict.fromkeys(FILES, PullAction.KEEP) | {"a.safetensors": PullAction.REPAIR}
    assert (set(full.hub.requested), full.shown(full.main)) == ({"a.safetensors"}, FILES)
    assert full.puller.plan(NAME).is_done


@pytest.mark.parametrize("wrong", ["a.safetensors", "b.safetensors"])
def test_a_link_to_the_blob_of_another_file_is_repaired(full: Bench, wrong: str) -> None:
    right = ({"a.safetensors", "b.safetensors"} - {wrong}).pop()
    full.download_store.snapshots[FOLDER][full.main][wrong] = sha256(FILES[right])
    full.forget_stamps()
    plan = full.pull()
    assert not plan.is_done
    assert (full.shown(full.main), dict(full.hub.requested)) == (FILES, {})
    assert full.puller.plan(NAME).is_done


def test_a_missing_link_to_a_verified_blob_needs_no_download(full: Bench) -> None:
    del full.download_store.snapshots[FOLDER][full.main]["config.json"]
    plan = full.pull()
    assert (plan.is_done, plan.bytes_to_fetch, dict(full.hub.requested)) == (False, 0, {})
    assert full.shown(full.main) == FILES


def test_another_revision_shares_blobs(full: Bench) -> None:
    old, new = full.main, full.hub.add(NAME, MORE)
    plan = full.pull()
    assert {name for name, action in _actions(plan).items() if action is PullAction.FETCH} == {"config.json", "new.txt"}
    assert (full.shown(old), full.shown(new)) == (FILES, MORE)
    assert (set(full.hub.requested), full.download_store.refs[FOLDER]) == ({"config.json", "new.txt"}, {"main": new})


def test_an_old_ref_is_updated_without_a_download(full: Bench) -> None:
    full.download_store.refs[FOLDER]["main"] = "0" * 40
    full.download_store.show()
    assert not full.pull().is_done
    assert (full.download_store.refs[FOLDER], dict(full.hub.requested)) == ({"main": full.main}, {})


@pytest.mark.parametrize("length", [7, 40])
def test_pulling_a_commit_updates_no_ref(bench: Bench, length: int) -> None:
    commit = bench.main
    bench.hub.repos[NAME].refs[commit[:length]] = commit  # the Hub resolves an abbreviated commit
    plan = bench.pull(f"{NAME}@{commit[:length]}")
    assert (plan.ref, bench.download_store.refs[FOLDER], bench.shown(commit)) == (None, {}, FILES)
    assert bench.puller.plan(f"{NAME}@{commit[:length]}").is_done


@pytest.mark.parametrize(("spec", "option"), [("@v1", None), ("", "v1"), ("@v1", "v1")])
def test_a_revision_may_be_in_the_name_or_in_the_request(bench: Bench, spec: str, option: str | None) -> None:
    old = bench.hub.add(NAME, MORE, ref="v1")
    assert bench.pull(NAME + spec, PullRequest(revision=option)).ref == "v1"
    assert (bench.shown(old), bench.download_store.refs[FOLDER]) == (MORE, {"v1": old})


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        (f"{NAME}@v1", PullRequest(revision="v2")),
        (NAME, PullRequest(revision="a/../b")),
        (NAME, PullRequest(revision=".hidden")),
        ("./folder", PullRequest()),
        ("~/folder", PullRequest()),
        ("a/b/c", PullRequest()),
        ("org/na me", PullRequest()),
        ("", PullRequest()),
        (NAME, PullRequest(include=("*.gguf",))),
        (NAME, PullRequest(exclude=("*",))),
    ],
)
def test_an_invalid_request_is_refused(bench: Bench, spec: str, request_: PullRequest) -> None:
    with pytest.raises(ValidationError):
        bench.puller.plan(spec, request_)


def test_an_empty_revision_is_refused_in_the_request_too(bench: Bench) -> None:
    with pytest.raises(ValidationError):
        bench.puller.plan(f"{NAME}@")
    with pytest.raises(ValidationError):
        bench.puller.plan(NAME, PullRequest(revision=""))


def test_a_name_without_an_owner_is_expanded(bench: Bench) -> None:
    bench.hub.add("mlx-community/tiny", {"config.json": b"1"})
    plan = bench.puller.plan("tiny")
    assert (plan.name, plan.folder, plan.is_expanded) == ("mlx-community/tiny", "models--mlx-community--tiny", True)
    assert not bench.puller.plan("mlx-community/tiny").is_expanded


def test_a_name_without_an_owner_is_the_cached_model_of_that_name(full: Bench) -> None:
    assert (full.puller.plan("name").name, full.puller.plan("name").is_expanded) == (NAME, True)
    full.download_store.store.add("models--other--name", snapshots=["0" * 40])
    with pytest.raises(AmbiguousMatch) as caught:
        full.puller.plan("name")
    assert caught.value.matches == (NAME, "other/name")


def test_patterns_select_files(bench: Bench) -> None:
    plan = bench.pull(request=PullRequest(include=("*.safetensors", "sub/"), exclude=("b*",)))
    assert bench.shown(bench.main) == {name: FILES[name] for name in ("a.safetensors", "sub/x.txt")}
    assert plan.total_bytes == len(FILES["a.safetensors"]) + 1
    assert len(bench.download_store.listings[FOLDER, bench.main].files) == len(FILES)
    assert set(bench.hub.requested) == {"a.safetensors", "sub/x.txt"}
    bench.pull()
    assert bench.shown(bench.main) == FILES


def test_force_downloads_everything_again(full: Bench) -> None:
    plan = full.pull(request=PullRequest(force=True))
    assert (set(_actions(plan).values()), plan.bytes_to_fetch, plan.is_done) == ({PullAction.FETCH}, SIZE, False)
    assert set(full.hub.requested) == set(FILES)


def test_a_download_resumes_where_it_stopped(bench: Bench) -> None:
    bench.hub.flaws["a.safetensors"] = [Flaw.CUT, Flaw.REFUSED]
    with pytest.raises(DownloadFailed):
        bench.pull()
    assert (bench.download_store.snapshots, bench.download_store.refs, bench.download_store.locked) == ({}, {}, [])
    plan = bench.pull()
    assert (plan.bytes_to_fetch, plan.missing[0].partial_bytes) == (SIZE - 2, 2)
    assert bench.hub.requested["a.safetensors"] == [0, 2, 2]
    assert bench.shown(bench.main) == FILES


def test_a_full_disk_is_refused_before_the_download(bench: Bench) -> None:
    bench.download_store.free = SIZE - 1
    with pytest.raises(StorageError, match="disk space"):
        bench.pull()
    assert (dict(bench.hub.requested), bench.download_store.disk, bench.download_store.locked) == ({}, {}, [])
    bench.download_store.free = SIZE
    bench.pull()


def test_an_invalid_listing_changes_nothing(bench: Bench) -> None:
    bench.hub.add(NAME, FILES | {"../escaped": b"x"})
    with pytest.raises(DownloadFailed, match="refused"):
        bench.puller.plan(NAME)
    assert bench.download_store.disk == {}


def test_errors_of_the_hub_are_passed_on(bench: Bench) -> None:
    for spec in ("org/nothing", f"{NAME}@nothing"):
        with pytest.raises(DownloadFailed):
            bench.puller.plan(spec)
    bench.hub.is_silent = True
    with pytest.raises(NetworkError):
        bench.puller.plan(NAME)


# --- a model that the Hub does not have


def _suggestions(bench: Bench, spec: str) -> tuple[str, ...] | None:
    with pytest.raises(DownloadFailed) as caught:
        bench.puller.plan(spec)
    return caught.value.suggestions


def test_similar_models_of_the_hub_are_suggested_and_the_starter(bench: Bench) -> None:
    for name in ("mlx-community/Llama3-8B-4bit", "other/llama3", NAME):
        bench.hub.add(name, FILES)
    assert _suggestions(bench, "llama3") == ("mlx-community/Llama3-8B-4bit", "other/llama3", "starter")
    assert bench.hub.searched == ["llama3"]


def test_the_first_word_of_a_name_is_searched_for_when_the_whole_finds_nothing(bench: Bench) -> None:
    bench.hub.add("other/llama3", FILES)
    assert _suggestions(bench, "org/Llama3-Instruct_4bit") == ("other/llama3", "starter")
    assert bench.hub.searched == ["Llama3-Instruct_4bit", "Llama3"]


def test_only_names_that_the_hub_can_have_are_suggested(bench: Bench) -> None:
    hostile = ("../../x", "a/b\x1b[2J", "a\nb", "x" * 200, "", "org/absent", "good/one", "good/one")
    bench.hub.found = hostile
    assert _suggestions(bench, "org/absent") == ("starter",)  # none of the first five
    bench.hub.found = hostile[::-1]
    assert _suggestions(bench, "org/absent") == ("good/one", "starter")


def test_a_hub_that_cannot_search_or_does_not_answer_leaves_the_starter(bench: Bench) -> None:
    @attrs.define
    class NoSearch(InMemoryHub):
        def search(self, text: str, limit: int) -> tuple[str, ...]:
            del limit
            raise NetworkError(text)

    bench.hub = NoSearch()
    assert _suggestions(bench, "org/absent") == ("starter",)
    bench.hub = InMemoryHub(is_silent=True)
    assert _suggestions(bench, "org/absent") == ("starter",)
    bench.hub = InMemoryHub(is_offline=True)
    assert _suggestions(bench, "org/absent") == ("starter",)


def test_a_missing_revision_gets_no_suggestions(bench: Bench) -> None:
    assert _suggestions(bench, f"{NAME}@nothing") is None
    assert bench.hub.searched == []
