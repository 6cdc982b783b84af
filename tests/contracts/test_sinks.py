"""What every ``Sink`` promises, and ``Sinks``, as a ``SnapshotPublisher`` opens them."""

from __future__ import annotations

import threading
from pathlib import Path

import attrs
import pytest

from mlxknife.domain.errors import WrongBytes
from mlxknife.domain.transfer.values import Held
from tests.contracts.download_stores import (
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
        download_store = self.opened(place)
        with receive(download_store).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 0
            sink.write(b"fir")
            sink.write(b"st")
            assert sink.position == 5
        assert [holding.partial_bytes for holding in look(download_store)] == [5, 0, 0, 0]
        assert held(download_store)[A.name] is Held.MISSING
        with receive(download_store).open(A, never) as sink:
            assert sink is not None
            assert sink.position == 5
            sink.write(b" weights")
            sink.finish()
        (holding,) = download_store.holdings(FOLDER, COMMIT.commit, [A])
        assert (holding.held, holding.partial_bytes) == (Held.UNPROVEN, 0)  # nobody published the proof

    def test_an_error_on_the_way_keeps_the_bytes_and_frees_the_sink(self, place: Path) -> None:
        download_store = self.opened(place)

        def break_off() -> None:
            with receive(download_store).open(A, never) as sink:
                assert sink is not None
                sink.write(b"first")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            break_off()
        assert look(download_store)[0].partial_bytes == 5
        bring(receive(download_store), A, FILES[A.name])

    def test_wrong_bytes_are_refused_and_forgotten(self, place: Path) -> None:
        download_store = self.opened(place)
        with receive(download_store).open(A, never) as sink:
            assert sink is not None
            for data in (WRONG, b"first"):
                sink.write(data)
                with pytest.raises(WrongBytes):
                    sink.finish()
                assert sink.position == 0
        assert (look(download_store)[0].held, look(download_store)[0].partial_bytes) == (Held.MISSING, 0)

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
        download_store = self.opened(place)
        self.write(download_store, place, A.hash.digest, FILES[A.name])
        with receive(download_store).open(A, never) as sink:
            assert sink is None
        with receive(download_store, force_download=True).open(A, never) as sink:
            assert sink is not None

    def test_a_wrong_blob_is_replaced(self, place: Path) -> None:
        download_store = self.opened(place)
        take_in(download_store)
        self.write(download_store, place, A.hash.digest, WRONG)
        holdings = look(download_store)
        publisher = receive(download_store)
        bring(publisher, A, FILES[A.name])
        publisher.publish(COMMIT, [attrs.evolve(holdings[0], held=Held.DAMAGED), *holdings[1:]], "main")
        assert self.shown(download_store, place, COMMIT.commit) == FILES
        assert held(download_store) == dict.fromkeys(FILES, Held.TRUSTED)

    def test_a_second_sink_of_a_blob_waits_and_is_none_when_the_first_brought_it(self, place: Path) -> None:
        download_store = self.opened(place)
        waited, told = threading.Event(), list[object]()

        def second() -> None:
            def is_given_up() -> bool:
                waited.set()  # somebody who has to wait asks this
                return False

            with receive(download_store).open(A, is_given_up) as sink:
                told.append(sink)

        thread = threading.Thread(target=second)
        with receive(download_store).open(A, never) as sink:
            assert sink is not None
            thread.start()
            assert waited.wait(10)
            assert told == []
            sink.write(FILES[A.name])
            sink.finish()
        thread.join(10)
        assert told == [None]

    def test_a_sink_that_is_given_up_is_none(self, place: Path) -> None:
        download_store = self.opened(place)
        with receive(download_store).open(A, never) as first, receive(download_store).open(A, lambda: True) as second:
            assert first is not None
            assert second is None


class TestFake(FakeScene, Contract):
    pass


class TestReal(RealScene, Contract):
    pass
