"""The contract of ``Workers``, for those that work here and those that work in copies of the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from mlxknife.adapters.process.workers import ForkedWorkers, SerialWorkers
from mlxknife.ports.system.workers import Workers

MANY = range(1000)


@pytest.fixture(params=[SerialWorkers, lambda: ForkedWorkers(2), lambda: ForkedWorkers(7)], ids=["serial", "2", "7"])
def workers(request: pytest.FixtureRequest) -> Workers:
    make: Callable[[], Workers] = request.param
    return make()


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("count", [0, 1, 79, 80, 81, 159, 160, 1000])
def test_results_come_in_the_order_of_the_items(workers: Workers, count: int) -> None:
    assert workers.map(square, range(count)) == [number * number for number in range(count)]


def test_results_may_be_larger_than_a_pipe(workers: Workers) -> None:
    assert workers.map(lambda number: bytes([number % 256]) * 10_000, MANY)[-1] == bytes([999 % 256]) * 10_000


@pytest.mark.parametrize("culprit", [0, 1, 500, 999])
def test_what_the_work_raises_is_raised(workers: Workers, culprit: int) -> None:
    def work(number: int) -> int:
        if number == culprit:
            raise LookupError(number)
        return number

    with pytest.raises(LookupError, match=str(culprit)):
        workers.map(work, MANY)


def test_a_copy_that_is_killed_costs_time_but_no_result() -> None:
    parent = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != parent and number > len(MANY) // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert ForkedWorkers(3).map(work, MANY) == list(MANY)


def test_copies_share_the_work_and_none_is_left_behind() -> None:
    pids = set(ForkedWorkers(3).map(lambda _: os.getpid(), MANY))
    assert os.getpid() in pids
    assert len(pids) == 3
    for pid in pids - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
