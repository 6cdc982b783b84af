"""The contract of ``Sink`` and ``Sinks``, for the sinks of a ``SnapshotPublisher``."""

from __future__ import annotations

import threading
from pathlib import Path

import attrs
import pytest

from mlxknife.domain.errors import WrongBytes
from mlxknife.domain.transfer.values import CachedFileState
from tests.contracts.download_stores import (
    COMMIT,
    FILES,
    FOLDER,
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
)


class Contract(Scene):
    def test_an_interrupted_download_is_reported_and_resumed(self, place: Path) -> None:
        store = self.opened(place)
        with publisher_of(store).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 0
            sink.write(b"fir")
            sink.write(b"st")
            assert sink.position == 5
        assert [cached.partial_bytes for cached in cached_files_of(store)] == [5, 0, 0, 0]
        assert held(store)[A.name] is CachedFileState.MISSING
        with publisher_of(store).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 5
            sink.write(b" weights")
            sink.finish()
        (cached,) = store.cached_files(FOLDER, COMMIT.commit, [A])
        assert (cached.state, cached.partial_bytes) == (CachedFileState.UNVERIFIED, 0)  # the stamp is stored by publish

    def test_an_error_during_the_download_keeps_the_bytes_and_releases_the_sink(self, place: Path) -> None:
        store = self.opened(place)

        def break_off() -> None:
            with publisher_of(store).open(A, never) as sink:
                assert sink is not None
                sink.write(b"first")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            break_off()
        assert cached_files_of(store)[0].partial_bytes == 5
        download(publisher_of(store), A, FILES[A.name])

    def test_wrong_bytes_are_refused_and_deleted(self, place: Path) -> None:
        store = self.opened(place)
        with publisher_of(store).open(A, never) as sink:
            assert sink is not None
            for data in (WRONG, b"first"):
                sink.write(data)
                with pytest.raises(WrongBytes):
                    sink.finish()
                assert sink.position == 0
        assert (cached_files_of(store)[0].state, cached_files_of(store)[0].partial_bytes) == (
            CachedFileState.MISSING,
            0,
        )

    def test_more_bytes_than_the_file_has_are_refused(self, place: Path) -> None:
        with publisher_of(self.opened(place)).open(A, never) as sink:
            assert sink is not None
            sink.write(b"first weight")
            with pytest.raises(WrongBytes):
                sink.write(b"s!")
            sink.restart()
            assert sink.position == 0
            sink.write(FILES[A.name])
            sink.finish()

    def test_a_right_blob_needs_no_sink_unless_the_download_is_forced(self, place: Path) -> None:
        store = self.opened(place)
        self.write(store, place, A.hash.digest, FILES[A.name])
        with publisher_of(store).open(A, never) as sink:
            assert sink is None
        with publisher_of(store, force_download=True).open(A, never) as sink:
            assert sink is not None

    def test_a_wrong_blob_is_replaced(self, place: Path) -> None:
        store = self.opened(place)
        pull(store)
        self.write(store, place, A.hash.digest, WRONG)
        cached_files = cached_files_of(store)
        publisher = publisher_of(store)
        download(publisher, A, FILES[A.name])
        publisher.publish(
            COMMIT, [attrs.evolve(cached_files[0], state=CachedFileState.DAMAGED), *cached_files[1:]], "main"
        )
        assert self.shown(store, place, COMMIT.commit) == FILES
        assert held(store) == dict.fromkeys(FILES, CachedFileState.VERIFIED)

    def test_a_second_sink_of_a_blob_waits_and_is_none_when_the_first_finished(self, place: Path) -> None:
        store = self.opened(place)
        waited, opened = threading.Event(), list[object]()

        def second() -> None:
            def is_cancelled() -> bool:
                waited.set()  # it is polled by a waiting sink
                return False

            with publisher_of(store).open(A, is_cancelled) as sink:
                opened.append(sink)

        thread = threading.Thread(target=second)
        with publisher_of(store).open(A, never) as sink:
            assert sink is not None
            thread.start()
            assert waited.wait(10)
            assert opened == []
            sink.write(FILES[A.name])
            sink.finish()
        thread.join(10)
        assert opened == [None]

    def test_a_cancelled_wait_gives_no_sink(self, place: Path) -> None:
        store = self.opened(place)
        with (
            publisher_of(store).open(A, never) as first,
            publisher_of(store).open(A, lambda: True) as second,
        ):
            assert first is not None
            assert second is None


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
