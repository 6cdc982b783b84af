"""What every ``DownloadStore`` promises, with its ``SnapshotPublisher``; sinks are in ``test_sinks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.domain.errors import AccessDenied, DownloadFailed
from mlxknife.domain.transfer.values import Held, Holding
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
    bring,
    held,
    look,
    never,
    proven,
    receive,
    take_in,
)


class Contract(Scene):
    # --- what is held

    def test_an_empty_cache_holds_nothing_and_is_not_changed_by_a_look(self, place: Path) -> None:
        download_store = self.opened(place)
        assert look(download_store) == tuple(Holding(file, Held.MISSING) for file in COMMIT.files)
        assert download_store.free_bytes() > 0
        assert self.shown(download_store, place, COMMIT.commit) == {}

    def test_what_came_and_was_published_is_trusted_and_linked(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        assert held(download_store) == dict.fromkeys(FILES, Held.TRUSTED)
        assert all(
            holding.is_linked and holding.identity and not holding.partial_bytes for holding in look(download_store)
        )
        assert self.shown(download_store, place, COMMIT.commit) == FILES
        assert self.refs(download_store, place) == {"main": COMMIT.commit}

    def test_holdings_come_in_the_order_of_the_files(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        backwards = COMMIT.files[::-1]
        assert [holding.file for holding in download_store.holdings(FOLDER, COMMIT.commit, backwards)] == list(
            backwards
        )

    def test_a_blob_without_a_snapshot_is_held_and_not_linked(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        (config, more) = look(download_store, OTHER)
        assert (config.held, config.is_linked, more.held) == (Held.TRUSTED, False, Held.MISSING)

    def test_a_blob_that_nobody_hashed_is_unproven(self, place: Path) -> None:
        download_store = self.opened(place)
        for data in (FILES[A.name], WRONG):
            self.write(download_store, place, A.hash.digest, data)
            (holding,) = download_store.holdings(FOLDER, COMMIT.commit, [A])
            assert (holding.held, holding.is_linked) == (Held.UNPROVEN, False)
            assert holding.location is not None

    @pytest.mark.parametrize("data", [b"", b"short", b"too many bytes"])
    def test_a_blob_of_another_size_is_damaged(self, place: Path, data: bytes) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        self.write(download_store, place, A.hash.digest, data)
        assert held(download_store) == dict.fromkeys(FILES, Held.TRUSTED) | {A.name: Held.DAMAGED}

    @pytest.mark.parametrize("data", [FILES[A.name], WRONG])
    def test_a_stamp_is_worth_nothing_after_a_write(self, place: Path, data: bytes) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        before = look(download_store)[0].identity
        self.write(download_store, place, A.hash.digest, data)
        assert held(download_store)[A.name] is Held.UNPROVEN
        assert look(download_store)[0].identity != before

    def test_what_somebody_else_proved_is_remembered_by_publishing(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        self.write(download_store, place, A.hash.digest, FILES[A.name])
        receive(download_store).publish(COMMIT, proven(look(download_store)), "main")
        assert held(download_store) == dict.fromkeys(FILES, Held.TRUSTED)

    # --- publishing

    def test_nothing_shows_before_it_is_published(self, place: Path) -> None:
        download_store = self.opened(place)
        bring(receive(download_store), A, FILES[A.name])
        assert (self.shown(download_store, place, COMMIT.commit), self.refs(download_store, place)) == ({}, {})

    def test_a_missing_blob_publishes_nothing(self, place: Path) -> None:
        download_store = self.opened(place)
        publisher = receive(download_store)
        bring(publisher, A, FILES[A.name])
        with pytest.raises(DownloadFailed):
            publisher.publish(COMMIT, look(download_store), "main")
        assert (self.shown(download_store, place, COMMIT.commit), self.refs(download_store, place)) == ({}, {})
        take_in(download_store)
        assert self.shown(download_store, place, COMMIT.commit) == FILES

    def test_a_snapshot_may_grow(self, place: Path) -> None:
        download_store = self.opened(place)
        publisher, first = receive(download_store), COMMIT.files[:2]
        for file in first:
            bring(publisher, file, FILES[file.name])
        publisher.publish(COMMIT, download_store.holdings(FOLDER, COMMIT.commit, first), None)
        assert set(self.shown(download_store, place, COMMIT.commit)) == {file.name for file in first}
        take_in(download_store)
        assert self.shown(download_store, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("lost", [None, "config.json", "sub/x.txt"])
    def test_a_link_that_went_since_the_look_is_made_again(self, place: Path, lost: str | None) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        holdings = look(download_store)
        self.lose(download_store, place, COMMIT.commit, lost)
        receive(download_store).publish(COMMIT, holdings, "main")
        assert self.shown(download_store, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("ref", ["main", "v1", "feature/one", "refs/pr/1", None])
    def test_a_ref_leads_to_the_commit_and_others_stay(self, place: Path, ref: str | None) -> None:
        download_store = self.opened(place)
        take_in(download_store, ref="other")
        take_in(download_store, {"config.json": b"{}", "more/deep/y.txt": b"y"}, OTHER, ref)
        expected = {"other": COMMIT.commit} | ({ref: OTHER.commit} if ref else {})
        assert self.refs(download_store, place) == expected
        assert self.shown(download_store, place, COMMIT.commit) == FILES

    # --- guards

    def test_two_guards_get_along(self, place: Path) -> None:
        download_store = self.opened(place)
        with download_store.lock_shared(FOLDER), download_store.lock_shared(FOLDER):
            take_in(download_store)
        assert self.shown(download_store, place, COMMIT.commit) == FILES

    def test_a_guard_ends_also_after_an_error(self, place: Path) -> None:
        download_store = self.opened(place)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), download_store.lock_shared(FOLDER):
                raise ZeroDivisionError

    def test_who_may_not_is_told_and_loses_nothing(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        holdings = look(download_store)
        with self.denying(download_store, place):
            with pytest.raises(AccessDenied), download_store.lock_shared(FOLDER):
                pytest.fail("it is not ours")
            with pytest.raises(AccessDenied), receive(download_store, force_download=True).open(A, never):
                pytest.fail("nothing can come")
            with pytest.raises(AccessDenied):
                receive(download_store).publish(COMMIT, holdings, "v2")
        assert self.shown(download_store, place, COMMIT.commit) == FILES
        assert self.refs(download_store, place) == {"main": COMMIT.commit}


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
