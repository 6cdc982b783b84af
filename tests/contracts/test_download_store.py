"""The contract of ``DownloadStore`` and ``SnapshotPublisher``; sinks are in ``test_sinks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.domain.errors import AccessDenied, DownloadFailed
from mlxknife.domain.transfer.values import CachedFile, CachedFileState
from tests.contracts.download_stores import (
    COMMIT,
    FILES,
    FOLDER,
    OTHER,
    WRONG,
    A,
    FakeScene,
    RealScene,
    Scene,
    cached_files_of,
    download,
    held,
    never,
    publisher_of,
    pull,
    trusted,
)


class Contract(Scene):
    # --- what is held

    def test_an_empty_cache_holds_nothing_and_reading_it_changes_nothing(self, place: Path) -> None:
        store = self.opened(place)
        assert cached_files_of(store) == tuple(CachedFile(file, CachedFileState.MISSING) for file in COMMIT.files)
        assert store.free_bytes() > 0
        assert self.shown(store, place, COMMIT.commit) == {}

    def test_a_published_download_is_trusted_and_linked(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        assert held(store) == dict.fromkeys(FILES, CachedFileState.VERIFIED)
        assert all(
            cached.is_linked and cached.identity and not cached.partial_bytes for cached in cached_files_of(store)
        )
        assert self.shown(store, place, COMMIT.commit) == FILES
        assert self.refs(store, place) == {"main": COMMIT.commit}

    def test_a_published_download_leaves_its_listing(self, place: Path) -> None:
        store = self.opened(place)
        assert not store.has_listing(FOLDER, COMMIT.commit)
        pull(store)
        assert store.has_listing(FOLDER, COMMIT.commit)
        assert not store.has_listing(FOLDER, OTHER.commit)

    def test_cached_files_come_in_the_order_of_the_files(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        backwards = COMMIT.files[::-1]
        assert [cached.file for cached in store.cached_files(FOLDER, COMMIT.commit, backwards)] == list(backwards)

    def test_a_blob_without_a_snapshot_is_held_and_not_linked(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        (config, more) = cached_files_of(store, OTHER)
        assert (config.state, config.is_linked, more.state) == (
            CachedFileState.VERIFIED,
            False,
            CachedFileState.MISSING,
        )

    def test_a_blob_that_was_not_hashed_is_unverified(self, place: Path) -> None:
        store = self.opened(place)
        for data in (FILES[A.name], WRONG):
            self.write(store, place, A.hash.digest, data)
            (cached,) = store.cached_files(FOLDER, COMMIT.commit, [A])
            assert (cached.state, cached.is_linked) == (CachedFileState.UNVERIFIED, False)
            assert cached.location is not None

    @pytest.mark.parametrize("data", [b"", b"short", b"too many bytes"])
    def test_a_blob_of_another_size_is_damaged(self, place: Path, data: bytes) -> None:
        store = self.opened(place)
        pull(store)
        self.write(store, place, A.hash.digest, data)
        assert held(store) == dict.fromkeys(FILES, CachedFileState.VERIFIED) | {A.name: CachedFileState.DAMAGED}

    @pytest.mark.parametrize("data", [FILES[A.name], WRONG])
    def test_a_stamp_is_invalid_after_a_write(self, place: Path, data: bytes) -> None:
        store = self.opened(place)
        pull(store)
        before = cached_files_of(store)[0].identity
        self.write(store, place, A.hash.digest, data)
        assert held(store)[A.name] is CachedFileState.UNVERIFIED
        assert cached_files_of(store)[0].identity != before

    def test_publishing_stamps_the_files_that_the_caller_verified(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        self.write(store, place, A.hash.digest, FILES[A.name])
        publisher_of(store).publish(COMMIT, trusted(cached_files_of(store)), "main")
        assert held(store) == dict.fromkeys(FILES, CachedFileState.VERIFIED)

    # --- publishing

    def test_a_download_is_not_visible_before_it_is_published(self, place: Path) -> None:
        store = self.opened(place)
        download(publisher_of(store), A, FILES[A.name])
        assert (self.shown(store, place, COMMIT.commit), self.refs(store, place)) == ({}, {})

    def test_a_missing_blob_publishes_nothing(self, place: Path) -> None:
        store = self.opened(place)
        publisher = publisher_of(store)
        download(publisher, A, FILES[A.name])
        with pytest.raises(DownloadFailed):
            publisher.publish(COMMIT, cached_files_of(store), "main")
        assert (self.shown(store, place, COMMIT.commit), self.refs(store, place)) == ({}, {})
        pull(store)
        assert self.shown(store, place, COMMIT.commit) == FILES

    def test_a_snapshot_may_grow(self, place: Path) -> None:
        store = self.opened(place)
        publisher, first = publisher_of(store), COMMIT.files[:2]
        for file in first:
            download(publisher, file, FILES[file.name])
        publisher.publish(COMMIT, store.cached_files(FOLDER, COMMIT.commit, first), None)
        assert set(self.shown(store, place, COMMIT.commit)) == {file.name for file in first}
        pull(store)
        assert self.shown(store, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("lost", [None, "config.json", "sub/x.txt"])
    def test_a_link_that_was_removed_meanwhile_is_created_again(self, place: Path, lost: str | None) -> None:
        store = self.opened(place)
        pull(store)
        cached_files = cached_files_of(store)
        self.lose(store, place, COMMIT.commit, lost)
        publisher_of(store).publish(COMMIT, cached_files, "main")
        assert self.shown(store, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("ref", ["main", "v1", "feature/one", "refs/pr/1", None])
    def test_a_ref_leads_to_the_commit_and_others_stay(self, place: Path, ref: str | None) -> None:
        store = self.opened(place)
        pull(store, ref="other")
        pull(store, {"config.json": b"{}", "more/deep/y.txt": b"y"}, OTHER, ref)
        expected = {"other": COMMIT.commit} | ({ref: OTHER.commit} if ref else {})
        assert self.refs(store, place) == expected
        assert self.shown(store, place, COMMIT.commit) == FILES

    # --- locks

    def test_two_pulls_share_the_lock(self, place: Path) -> None:
        store = self.opened(place)
        with store.lock_shared(FOLDER), store.lock_shared(FOLDER):
            pull(store)
        assert self.shown(store, place, COMMIT.commit) == FILES

    def test_the_lock_is_released_after_an_error(self, place: Path) -> None:
        store = self.opened(place)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.lock_shared(FOLDER):
                raise ZeroDivisionError

    def test_a_cache_that_may_not_be_written_is_denied_and_loses_nothing(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        cached_files = cached_files_of(store)
        with self.denying(store, place):
            with pytest.raises(AccessDenied), store.lock_shared(FOLDER):
                pytest.fail("the lock was taken")
            with pytest.raises(AccessDenied), publisher_of(store, force_download=True).open(A, never):
                pytest.fail("a sink was opened")
            with pytest.raises(AccessDenied):
                publisher_of(store).publish(COMMIT, cached_files, "v2")
        assert self.shown(store, place, COMMIT.commit) == FILES
        assert self.refs(store, place) == {"main": COMMIT.commit}


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
