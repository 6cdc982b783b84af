"""Runs one target on many mutated documents: every case ends in a value or in an error that the target may raise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

import attrs

from mlxknife.domain.errors import InternalError
from tests.fuzz.mutations import amplified

MAX_SECONDS = 1.0
"""The processor time above which a case counts as a hang."""
_LARGE_EVERY = 500
_SHOWN = 400

Mutation = Callable[[Random], bytes]


@attrs.frozen
class Target:
    """A parser, how cases for it are made, and the errors that it may raise."""

    name: str
    mutations: Sequence[Mutation]
    """Each returns a document that is valid or was so once; the first ones are chosen as often as the last ones."""
    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    share: int = 10
    """The cases of this target in ten thousand of all targets."""
    largest: int = 0
    """The size up to which one case in 500 is enlarged; 0 for none."""


@attrs.define
class Report:
    """What came of a campaign."""

    cases: int = 0
    refused: int = 0
    largest: int = 0
    slowest: float = 0.0
    slowest_case: int = 0
    seconds: float = 0.0


class CaseFailed(AssertionError):
    """A case did not end as it must."""


def case(target: Target, seed: int, number: int) -> bytes:
    """Return one case of a target; it depends on nothing else."""
    random = Random(f"{seed}/{target.name}/{number}")
    data = random.choice(target.mutations)(random)
    return amplified(data, random, target.largest) if target.largest and number % _LARGE_EVERY == 0 else data


def run(target: Target, seed: int, count: int, *, first: int = 1) -> Report:
    """Run cases in this process. Raises CaseFailed for an exception that is none of the contract, or a hang."""
    report = Report()
    for number in range(first, first + count):
        data = case(target, seed, number)
        began = time.thread_time()
        try:
            target.parse(data)
        except target.refusals as exc:
            report.refused += 1
            if isinstance(exc, InternalError) and InternalError not in target.refusals:
                raise CaseFailed(_described(target, seed, number, data)) from exc
        except Exception as exc:
            raise CaseFailed(_described(target, seed, number, data)) from exc
        spent = time.thread_time() - began
        report.cases += 1
        report.seconds += spent
        report.largest = max(report.largest, len(data))
        if spent > report.slowest:
            report.slowest, report.slowest_case = spent, number
    return report


def _described(target: Target, seed: int, number: int, data: bytes) -> str:
    """Say how to make a case again, and show its first bytes."""
    return f"{target.name}: case({seed}, {number}) of {len(data)} bytes: {data[:_SHOWN]!r}"
