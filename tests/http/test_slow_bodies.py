"""A body has a longest silence and a lowest rate. The clock of the event loop is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message

from mlxknife.http.core.errors import BodyTimeout
from mlxknife.http.core.limits import BodyBudget
from mlxknife.http.options import Options

_RATE = Options().body_bytes_per_second
_SILENCE = Options().body_seconds


class _Clock(asyncio.SelectorEventLoop):
    """An event loop whose time only moves when a client takes time."""

    now = 0.0

    def time(self) -> float:
        return self.now


def seconds_until_refused(parts: Iterable[tuple[float, int]]) -> float | None:
    """Send parts, each after a pause; return the time at which they are refused, or None if they are accepted."""
    loop = _Clock()
    waiting = iter(parts)

    async def receive() -> Message:
        pause, size = next(waiting, (0.0, 0))
        for _ in range(round(pause * 10)):
            loop.now += 0.1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return {"type": "http.request", "body": bytes(size), "more_body": size > 0}

    async def read() -> None:
        with BodyBudget(Options()).body() as body:
            await body.read(receive)

    try:
        loop.run_until_complete(read())
    except BodyTimeout:
        return loop.now
    finally:
        loop.close()
    return None


@pytest.mark.parametrize(
    "parts",
    [
        [(14.0, 10)],
        [(0.0, 1_000_000), (14.0, 10)],
        [(1.0, 110_000)] * 60,  # 6.6 MB in a minute
        [(14.0, 1_500_000)] * 5,
    ],
)
def test_a_body_with_short_pauses_and_a_fair_rate_is_accepted(parts: list[tuple[float, int]]) -> None:
    assert seconds_until_refused(parts) is None


@pytest.mark.parametrize(
    ("parts", "refused_after"),
    [
        ([(60.0, 10)], _SILENCE),
        ([(0.0, 5_000_000), (60.0, 10)], _SILENCE),  # what came earlier buys no silence
        ([(1.0, 1)] * 100, _SILENCE),
        ([(1.0, 50_000)] * 100, 30.0),  # half of the rate: the head start is used up after twice the time
        ([(10.0, 1_000_000), (60.0, 10)], 10.0 + _SILENCE),
    ],
)
def test_a_silent_or_slow_body_is_refused(parts: list[tuple[float, int]], refused_after: float) -> None:
    seconds = seconds_until_refused(parts)
    assert seconds == pytest.approx(refused_after, abs=1.2)


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (_SILENCE, _RATE) == (15.0, 100_000.0)
