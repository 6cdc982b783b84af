"""What every ``Sink`` promises, and ``Sinks``, as a ``SnapshotPublisher`` opens them."""

from __future__ import annotations

import threading
from pathlib import Path

import attrs
import pytest

from mlxknife.domain.errors import WrongBytes
from mlxknife.domain.transfer.values import CachedFileState
from tests.contracts.intakes import (
    COMMIT,
    FILES,
    FOLDER,
    WRONG,
    A,
    FakeScene,
    RealScene,
    Scene,
    bring,
    held,
    look,
    never,
    receive,
    take_in,
)


class Contract(Scene):
    def test_a_broken_off_download_is_told_and_taken_up(self, place: Path) -> None:
        intake = self.opened(place)
        with receive(intake).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 0
            sink.write(b"fir")
            sink.write(b"st")
            assert sink.position == 5
        assert [cached.partial_bytes for cached in look(intake)] == [5, 0, 0, 0]
        assert held(intake)[A.name] is CachedFileState.MISSING
        with receive(intake).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 5
            sink.write(b" weights")
            sink.finish()
        (cached,) = intake.cached_files(FOLDER, COMMIT.commit, [A])
        assert (cached.state, cached.partial_bytes) == (
            CachedFileState.UNVERIFIED,
            0,
        )  # nobody published the proof

    def test_an_error_on_the_way_keeps_the_bytes_and_frees_the_sink(self, place: Path) -> None:
        intake = self.opened(place)

        def break_off() -> None:
            with receive(intake).open(A, never) as sink:
                assert sink is not None
                sink.write(b"first")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            break_off()
        assert look(intake)[0].partial_bytes == 5
        bring(receive(intake), A, FILES[A.name])

    def test_wrong_bytes_are_refused_and_forgotten(self, place: Path) -> None:
        intake = self.opened(place)
        with receive(intake).open(A, never) as sink:
            assert sink is not None
            for data in (WRONG, b"first"):
                sink.write(data)
                with pytest.raises(WrongBytes):
                    sink.finish()
                assert sink.position == 0
        assert (look(intake)[0].state, look(intake)[0].partial_bytes) == (CachedFileState.MISSING, 0)

    def test_more_bytes_than_the_file_has_are_refused(self, place: Path) -> None:
        with receive(self.opened(place)).open(A, never) as sink:
            assert sink is not None
            sink.write(b"first weight")
            with pytest.raises(WrongBytes):
                sink.write(b"s!")
            sink.restart()
            assert sink.position == 0
            sink.write(FILES[A.name])
            sink.finish()

    def test_a_right_blob_needs_no_sink_unless_it_is_to_come_afresh(self, place: Path) -> None:
        intake = self.opened(place)
        self.write(intake, place, A.hash.digest, FILES[A.name])
        with receive(intake).open(A, never) as sink:
            assert sink is None
        with receive(intake, afresh=True).open(A, never) as sink:
            assert sink is not None

    def test_a_wrong_blob_is_replaced(self, place: Path) -> None:
        intake = self.opened(place)
        take_in(intake)
        self.write(intake, place, A.hash.digest, WRONG)
        cached_files = look(intake)
        reception = receive(intake)
        bring(reception, A, FILES[A.name])
        reception.publish(
            COMMIT, [attrs.evolve(cached_files[0], state=CachedFileState.DAMAGED), *cached_files[1:]], "main"
        )
        assert self.shown(intake, place, COMMIT.commit) == FILES
        assert held(intake) == dict.fromkeys(FILES, CachedFileState.VERIFIED)

    def test_a_second_sink_of_a_blob_waits_and_is_none_when_the_first_brought_it(self, place: Path) -> None:
        intake = self.opened(place)
        waited, told = threading.Event(), list[object]()

        def second() -> None:
            def is_given_up() -> bool:
                waited.set()  # somebody who has to wait asks this
                return False

            with receive(intake).open(A, is_given_up) as sink:
                told.append(sink)

        thread = threading.Thread(target=second)
        with receive(intake).open(A, never) as sink:
            assert sink is not None
            thread.start()
            assert waited.wait(10)
            assert told == []
            sink.write(FILES[A.name])
            sink.finish()
        thread.join(10)
        assert told == [None]

    def test_a_sink_that_is_given_up_is_none(self, place: Path) -> None:
        intake = self.opened(place)
        with receive(intake).open(A, never) as first, receive(intake).open(A, lambda: True) as second:
            assert first is not None
            assert second is None


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
