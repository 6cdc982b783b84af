"""What every ``DownloadStore`` promises, with its ``SnapshotPublisher``; sinks are in ``test_sinks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxknife.domain.errors import AccessDenied, DownloadFailed
from mlxknife.domain.transfer.values import CachedFile, CachedFileState
from tests.contracts.intakes import (
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
        intake = self.opened(place)
        assert look(intake) == tuple(CachedFile(file, CachedFileState.MISSING) for file in COMMIT.files)
        assert intake.free_bytes() > 0
        assert self.shown(intake, place, COMMIT.commit) == {}

    def test_what_came_and_was_published_is_trusted_and_linked(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        assert held(intake) == dict.fromkeys(FILES, CachedFileState.VERIFIED)
        assert all(cached.is_linked and cached.identity and not cached.partial_bytes for cached in look(intake))
        assert self.shown(intake, place, COMMIT.commit) == FILES
        assert self.refs(intake, place) == {"main": COMMIT.commit}

    def test_holdings_come_in_the_order_of_the_files(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        backwards = COMMIT.files[::-1]
        assert [cached.file for cached in intake.cached_files(FOLDER, COMMIT.commit, backwards)] == list(backwards)

    def test_a_blob_without_a_snapshot_is_held_and_not_linked(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        (config, more) = look(intake, OTHER)
        assert (config.state, config.is_linked, more.state) == (
            CachedFileState.VERIFIED,
            False,
            CachedFileState.MISSING,
        )

    def test_a_blob_that_nobody_hashed_is_unproven(self, place: Path) -> None:
        intake = self.opened(place)
        for data in (FILES[A.name], WRONG):
            self.write(intake, place, A.hash.digest, data)
            (cached,) = intake.cached_files(FOLDER, COMMIT.commit, [A])
            assert (cached.state, cached.is_linked) == (CachedFileState.UNVERIFIED, False)
            assert cached.location is not None

    @pytest.mark.parametrize("data", [b"", b"short", b"too many bytes"])
    def test_a_blob_of_another_size_is_damaged(self, place: Path, data: bytes) -> None:
        intake = self.opened(place)
        take_in(intake)
        self.write(intake, place, A.hash.digest, data)
        assert held(intake) == dict.fromkeys(FILES, CachedFileState.VERIFIED) | {A.name: CachedFileState.DAMAGED}

    @pytest.mark.parametrize("data", [FILES[A.name], WRONG])
    def test_a_stamp_is_worth_nothing_after_a_write(self, place: Path, data: bytes) -> None:
        intake = self.opened(place)
        take_in(intake)
        before = look(intake)[0].identity
        self.write(intake, place, A.hash.digest, data)
        assert held(intake)[A.name] is CachedFileState.UNVERIFIED
        assert look(intake)[0].identity != before

    def test_what_somebody_else_proved_is_remembered_by_publishing(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        self.write(intake, place, A.hash.digest, FILES[A.name])
        receive(intake).publish(COMMIT, proven(look(intake)), "main")
        assert held(intake) == dict.fromkeys(FILES, CachedFileState.VERIFIED)

    # --- publishing

    def test_nothing_shows_before_it_is_published(self, place: Path) -> None:
        intake = self.opened(place)
        bring(receive(intake), A, FILES[A.name])
        assert (self.shown(intake, place, COMMIT.commit), self.refs(intake, place)) == ({}, {})

    def test_a_missing_blob_publishes_nothing(self, place: Path) -> None:
        intake = self.opened(place)
        reception = receive(intake)
        bring(reception, A, FILES[A.name])
        with pytest.raises(DownloadFailed):
            reception.publish(COMMIT, look(intake), "main")
        assert (self.shown(intake, place, COMMIT.commit), self.refs(intake, place)) == ({}, {})
        take_in(intake)
        assert self.shown(intake, place, COMMIT.commit) == FILES

    def test_a_snapshot_may_grow(self, place: Path) -> None:
        intake = self.opened(place)
        reception, first = receive(intake), COMMIT.files[:2]
        for file in first:
            bring(reception, file, FILES[file.name])
        reception.publish(COMMIT, intake.cached_files(FOLDER, COMMIT.commit, first), None)
        assert set(self.shown(intake, place, COMMIT.commit)) == {file.name for file in first}
        take_in(intake)
        assert self.shown(intake, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("lost", [None, "config.json", "sub/x.txt"])
    def test_a_link_that_went_since_the_look_is_made_again(self, place: Path, lost: str | None) -> None:
        intake = self.opened(place)
        take_in(intake)
        cached_files = look(intake)
        self.lose(intake, place, COMMIT.commit, lost)
        receive(intake).publish(COMMIT, cached_files, "main")
        assert self.shown(intake, place, COMMIT.commit) == FILES

    @pytest.mark.parametrize("ref", ["main", "v1", "feature/one", "refs/pr/1", None])
    def test_a_ref_leads_to_the_commit_and_others_stay(self, place: Path, ref: str | None) -> None:
        intake = self.opened(place)
        take_in(intake, ref="other")
        take_in(intake, {"config.json": b"{}", "more/deep/y.txt": b"y"}, OTHER, ref)
        expected = {"other": COMMIT.commit} | ({ref: OTHER.commit} if ref else {})
        assert self.refs(intake, place) == expected
        assert self.shown(intake, place, COMMIT.commit) == FILES

    # --- guards

    def test_two_guards_get_along(self, place: Path) -> None:
        intake = self.opened(place)
        with intake.guarded(FOLDER), intake.guarded(FOLDER):
            take_in(intake)
        assert self.shown(intake, place, COMMIT.commit) == FILES

    def test_a_guard_ends_also_after_an_error(self, place: Path) -> None:
        intake = self.opened(place)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), intake.guarded(FOLDER):
                raise ZeroDivisionError

    def test_who_may_not_is_told_and_loses_nothing(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        cached_files = look(intake)
        with self.denying(intake, place):
            with pytest.raises(AccessDenied), intake.guarded(FOLDER):
                pytest.fail("it is not ours")
            with pytest.raises(AccessDenied), receive(intake, afresh=True).open(A, never):
                pytest.fail("nothing can come")
            with pytest.raises(AccessDenied):
                receive(intake).publish(COMMIT, cached_files, "v2")
        assert self.shown(intake, place, COMMIT.commit) == FILES
        assert self.refs(intake, place) == {"main": COMMIT.commit}


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
