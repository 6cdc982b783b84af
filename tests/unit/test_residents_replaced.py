"""A folder whose model is replaced while it is loaded: the new one is what is kept, and the old one does not stay."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.services.loaded_model import Claim
from mlxknife.domain.serving.services.model_pool import Residents
from mlxknife.domain.serving.services.servable_models import Served
from tests.fakes.hand_hosts import HandHosts
from tests.fakes.system import FakeSystem
from tests.unit.serving_stage import served


def _in_workspace(units: int) -> Served:
    model = served("any", units).runnable
    info = attrs.evolve(model.info, name="mine", cached=False)
    return Served(attrs.evolve(model, info=info, location=Location("folder", ("folder",))))


def _claimed(residents: Residents, model: Served) -> Claim:
    heard: list[Claim | KnifeError] = []
    residents.claim(model, heard.append)
    (claim,) = heard
    assert isinstance(claim, Claim)
    return claim


def test_what_was_kept_makes_way_for_what_stands_in_its_place() -> None:
    before, now = _in_workspace(1), _in_workspace(2)
    assert before.key != now.key
    hosts = HandHosts()
    residents = Residents(hosts, FakeSystem())
    residents.keep(before)
    hosts.started[0].load()
    residents.claim(now, lambda _: None)
    residents.tick()
    assert [one.served.key for one in residents.loaded()] == [now.key]
    assert [host.is_closed for host in hosts.started] == [True, False]
    hosts.started[1].load()
    residents.tick()
    assert len(hosts.started) == 2


def test_whoever_is_answered_by_the_old_one_is_answered_to_the_end() -> None:
    before, now = _in_workspace(1), _in_workspace(2)
    hosts = HandHosts()
    residents = Residents(hosts, FakeSystem())
    residents.keep(before)
    hosts.started[0].load()
    claim = _claimed(residents, before)
    residents.claim(now, lambda _: None)
    assert not hosts.started[0].is_closed
    claim.release()
    residents.tick()
    assert hosts.started[0].is_closed
    assert [one.served.key for one in residents.loaded()] == [now.key]
