"""What a defect, or a model that falls again and again, costs those who wait for models."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from mlxknife.domain.errors import InternalError, KnifeError, WorkerLost
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.rules.eviction import Limits
from mlxknife.domain.serving.services.loaded_model import Claim
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.values.processes import Began, Fallen, Fell, HostEvent, LeftOut, ResidentEvent
from tests.fakes.hand_hosts import HandHost, HandHosts
from tests.fakes.system import FakeSystem
from tests.unit.serving_stage import UNIT, served

Heard = list[Claim | KnifeError]


@attrs.define
class SickHosts(HandHosts):
    """Cannot start a certain model, which no ``Hosts`` may say."""

    sick: str = "sick"

    def start(self, location: Location, profile: str, on_event: Callable[[HostEvent], None]) -> HandHost:
        """See ``Hosts.start``."""
        if location.token == self.sick:
            msg = "nobody thought of this"
            raise OSError(msg)
        return super().start(location, profile, on_event)


@attrs.define
class SickSystem(FakeSystem):
    """A machine whose clock fails, once."""

    fails_next: bool = False

    def ticks(self) -> float:
        """See ``System.ticks``."""
        if self.fails_next:
            self.fails_next = False
            msg = "nobody thought of this"
            raise RuntimeError(msg)
        return super().ticks()


def _claim(residents: Residents, name: str) -> Heard:
    heard: Heard = []
    residents.claim(served(name), heard.append)
    return heard


def _given(heard: Heard) -> Claim:
    (claim,) = heard
    assert isinstance(claim, Claim)
    return claim


def test_a_model_that_cannot_be_started_for_a_defect_is_lost_by_the_one_who_asked_for_it_only() -> None:
    hosts, events = SickHosts(), list[ResidentEvent]()
    residents = Residents(hosts, FakeSystem(), Limits(models=1), on_event=events.append)
    first = _claim(residents, "small")
    hosts.started[0].load()
    sick, other, again = (_claim(residents, name) for name in ("sick", "other", "small"))
    _given(first).release()
    assert [type(reply) for reply in sick] == [InternalError]
    assert "nobody thought" not in str(sick[0])  # which is for the log
    assert [type(event) for event in events[-3:]] == [Began, Fallen, Began]
    assert [one.name for one in residents.loaded()] == ["other"]
    hosts.started[1].load()
    _given(other).release()
    hosts.started[2].load()
    _given(again).release()
    assert residents.waiting == 0


def test_what_fails_before_a_model_is_begun_is_told_and_nobody_behind_is_forgotten() -> None:
    hosts, system, events = HandHosts(), SickSystem(), list[ResidentEvent]()
    residents = Residents(hosts, system, Limits(models=1), on_event=events.append)
    first = _claim(residents, "small")
    hosts.started[0].load()
    sick, other = _claim(residents, "middle"), _claim(residents, "other")
    claim = _given(first)
    claim.resident.claims.discard(claim)  # as if it had been released, and the clock had held until then
    system.fails_next = True
    _claim(residents, "large")
    assert [type(reply) for reply in sick] == [InternalError]
    (left_out,) = (event for event in events if isinstance(event, LeftOut))
    assert (left_out.name, left_out.error.__notes__) == ("middle", ["RuntimeError: nobody thought of this"])
    hosts.started[1].load()
    assert _given(other).resident.name == "other"
    assert residents.waiting == 1


def test_even_where_nobody_can_be_told_of_a_model_the_one_who_asked_is() -> None:
    def deaf(event: ResidentEvent) -> None:
        msg = f"nobody listens to {event.name}"
        raise RuntimeError(msg)

    residents = Residents(HandHosts(), FakeSystem(), on_event=deaf)
    heard: Heard = []
    with pytest.raises(RuntimeError, match="nobody listens"):
        residents.claim(served("small"), heard.append)
    assert [type(reply) for reply in heard] == [InternalError]
    assert (residents.loaded(), residents.waiting) == ((), 0)


def test_one_who_leaves_while_the_queue_is_served_gets_no_model() -> None:
    hosts = HandHosts()
    residents = Residents(hosts, FakeSystem(), Limits(memory_bytes=8 * UNIT, models=1))
    first = _claim(residents, "small")
    hosts.started[0].load()
    other, heard = _claim(residents, "other"), list[Claim | KnifeError]()
    forgets = list[Callable[[], None]]()
    residents.claim(served("huge", 50), lambda _: forgets.pop()())  # is told that there is no room for it
    forgets.append(residents.claim(served("middle"), heard.append))
    _given(first).release()
    hosts.started[1].load()
    _given(other).release()
    assert (forgets, heard, residents.waiting) == ([], [], 0)
    assert len(hosts.started) == 2


@pytest.mark.parametrize(("falls", "seconds"), [(2, 1.0), (4, 4.0), (20, 60.0)])
def test_a_model_that_falls_again_and_again_is_lost_for_as_long_as_it_says(falls: int, seconds: float) -> None:
    hosts, system = HandHosts(), FakeSystem()
    residents = Residents(hosts, system)
    for _ in range(falls):
        _claim(residents, "small")
        hosts.running[0].say(Fell(WorkerLost("gone")))
        system.time += seconds
    system.time -= seconds
    (refused,) = _claim(residents, "small")
    assert isinstance(refused, WorkerLost)
    assert refused.retry_after == seconds
    assert not hosts.running
    system.time += refused.retry_after
    assert _claim(residents, "small") == []
    hosts.running[0].load()
