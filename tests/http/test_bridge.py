"""Callbacks become something that can be awaited, and a wait that ends leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from mlxknife.domain.errors import KnifeError, NotEnoughMemory
from mlxknife.domain.generation.values.generation import FinishReason, Piece, PieceKind
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from mlxknife.http.bridge import Telling, claimed
from mlxknife.http.exchange import joined
from tests.fakes.serving import NAME, FakeResidents, FakeServed, info

SERVED = FakeServed(info(NAME))


def test_a_claim_that_comes_at_once_is_there() -> None:
    async def ask() -> None:
        residents = FakeResidents()
        claim = await claimed(residents, SERVED)
        assert residents.claims == [claim]

    asyncio.run(ask())


def test_a_claim_that_comes_later_is_waited_for() -> None:
    async def ask() -> None:
        residents = FakeResidents(load_seconds=0.01)
        assert await claimed(residents, SERVED) is residents.claims[0]
        assert residents.forgotten == 0

    asyncio.run(ask())


@pytest.mark.parametrize("load_seconds", [None, 0.01])
def test_what_is_in_the_way_is_raised(load_seconds: float | None) -> None:
    async def ask() -> None:
        residents = FakeResidents(load_seconds=load_seconds, claim_error=NotEnoughMemory("big"))
        with pytest.raises(NotEnoughMemory):
            await claimed(residents, SERVED)

    asyncio.run(ask())


@pytest.mark.parametrize("comes_first", [True, False])
def test_who_does_not_wait_any_more_holds_nothing(*, comes_first: bool) -> None:
    async def ask() -> None:
        residents = FakeResidents(load_seconds=0.0 if comes_first else 60.0)
        asking = asyncio.create_task(claimed(residents, SERVED))
        await asyncio.sleep(0)
        if comes_first:
            while not residents.made:  # noqa: ASYNC110 - it must be granted and not yet looked at
                await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        if not asking.cancelled():
            asking.result().cancel()
            asking.result().release()
        assert residents.claims == []
        assert residents.forgotten == 1

    asyncio.run(ask())


def test_whoever_is_late_gets_everything_at_once() -> None:
    async def listen() -> None:
        telling = Telling(60.0)
        told: list[Told | KnifeError] = [Told(), Told(), KnifeError("x")]
        for index, one in enumerate(told):
            telling.hear(index, one)
        assert await telling.heap() == list(enumerate(told))
        asyncio.get_running_loop().call_later(0.01, lambda: telling.hear(7, Told()))
        assert await telling.heap() == [(7, Told())]
        telling.close()

    asyncio.run(listen())


def test_what_came_of_one_answer_is_joined() -> None:
    def said(text: str, kind: PieceKind = PieceKind.ANSWER, ended: FinishReason | None = None) -> Told:
        return Told((Piece(kind, text),), (TokenLikelihood(text, text.encode(), -1.0),), ended)

    error, thought = KnifeError("x"), PieceKind.REASONING
    heap: list[tuple[int, Told | KnifeError]] = [
        (0, said("a", thought)),
        (1, said("x")),
        (0, said("b", thought)),
        (0, said("c")),
        (0, said("d", ended=FinishReason.STOP)),
    ]
    (zero, one) = joined(heap)
    assert one == (1, said("x"))
    assert isinstance(zero[1], Told)
    assert zero[1].pieces == (Piece(thought, "ab"), Piece(PieceKind.ANSWER, "cd"))
    assert [likelihood.token for likelihood in zero[1].likelihoods] == ["a", "b", "c", "d"]
    assert zero[1].ended is FinishReason.STOP
    assert joined([*heap, (1, error), (0, said("never"))]) == [zero, one, (1, error)]


def test_a_silence_is_an_empty_heap_and_comes_again() -> None:
    async def listen() -> None:
        telling = Telling(0.02)
        assert [await telling.heap() for _ in range(3)] == [[], [], []]
        telling.close()

    asyncio.run(listen())


def test_a_listener_that_is_cancelled_can_be_followed_by_another() -> None:
    async def listen() -> None:
        telling = Telling(60.0)
        first = asyncio.create_task(telling.heap())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        telling.hear(0, Told())
        assert await telling.heap() == [(0, Told())]
        telling.close()

    asyncio.run(listen())
