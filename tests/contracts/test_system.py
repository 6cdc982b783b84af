"""The contract of ``System``, for the machine and the fake."""

from __future__ import annotations

import time

import pytest

from mlxknife.adapters.system.machine import Machine
from mlxknife.ports.system.system import System
from tests.fakes.system import FakeSystem

_YEAR_2024 = 1_704_067_200


@pytest.fixture(params=[Machine, FakeSystem], ids=["real", "fake"])
def system(request: pytest.FixtureRequest) -> System:
    made: System = request.param()
    return made


def test_memory_is_a_positive_number_or_unknown(system: System) -> None:
    memory = system.memory_total_bytes()
    assert memory is None or memory > 2**20


def test_the_clock_counts_seconds_since_1970_and_does_not_run_backwards(system: System) -> None:
    first, second = system.now(), system.now()
    assert _YEAR_2024 < first <= second < _YEAR_2024 * 2


def test_the_real_clock_is_the_clock_of_this_machine() -> None:
    before = time.time()
    assert before <= Machine().now() <= time.time()


def test_the_memory_of_this_machine_is_known() -> None:
    assert Machine().memory_total_bytes() is not None


def test_the_memory_of_a_fake_machine_may_be_unknown() -> None:
    assert FakeSystem(memory=None).memory_total_bytes() is None
