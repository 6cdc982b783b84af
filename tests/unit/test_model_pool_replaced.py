"""A folder whose model is replaced while it is loaded: the new model is kept, and the old one is unloaded."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModel
from tests.fakes.manual_processes import ManualProcesses
from tests.fakes.system import FakeSystem
from tests.unit.pool_models import servable


def _in_workspace(units: int) -> ServableModel:
    model = servable("any", units).runnable
    info = attrs.evolve(model.info, name="mine", cached=False)
    return ServableModel(attrs.evolve(model, info=info, location=Location("folder", ("folder",))))


def _leased(pool: ModelPool, model: ServableModel) -> Lease:
    received: list[Lease | KnifeError] = []
    pool.acquire(model, received.append)
    (lease,) = received
    assert isinstance(lease, Lease)
    return lease


def test_a_kept_model_is_unloaded_for_the_new_content_of_its_folder() -> None:
    before, now = _in_workspace(1), _in_workspace(2)
    assert before.key != now.key
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    pool.keep(before)
    processes.started[0].loaded()
    pool.acquire(now, lambda _: None)
    pool.tick()
    assert [one.model.key for one in pool.loaded()] == [now.key]
    assert [process.is_closed for process in processes.started] == [True, False]
    processes.started[1].loaded()
    pool.tick()
    assert len(processes.started) == 2


def test_a_lease_on_the_old_content_holds_until_it_is_released() -> None:
    before, now = _in_workspace(1), _in_workspace(2)
    processes = ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    pool.keep(before)
    processes.started[0].loaded()
    lease = _leased(pool, before)
    pool.acquire(now, lambda _: None)
    assert not processes.started[0].is_closed
    lease.release()
    pool.tick()
    assert processes.started[0].is_closed
    assert [one.model.key for one in pool.loaded()] == [now.key]
