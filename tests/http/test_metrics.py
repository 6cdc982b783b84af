"""Metrics in the text format of Prometheus."""

from __future__ import annotations

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.serving.services.loaded_model import Lease
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.http.core.metrics import Metrics
from tests.fakes.manual_processes import ManualProcesses
from tests.fakes.serving import servable
from tests.fakes.system import FakeSystem


def test_running_requests_are_added_up_for_models_of_the_same_name() -> None:
    metrics, processes = Metrics(), ManualProcesses()
    pool = ModelPool(processes, FakeSystem())
    leases: list[Lease | KnifeError] = []
    for name, revision in (("a", "1"), ("a", "2"), ("b", "")):
        pool.acquire(servable(name, revision), leases.append)
    for process in processes.started[:2]:
        process.loaded()
    for lease, requests in zip(leases, (2, 3), strict=True):
        assert isinstance(lease, Lease)
        for _ in range(requests):
            lease.submit(GenerationRequest((Message("user", "hi"),)), lambda _: None)
    for _ in range(2):
        page = metrics.page(pool.loaded(), 4).decode().splitlines()
        assert 'mlxknife_requests_running{model="a"} 5.0' in page
        assert 'mlxknife_requests_running{model="b"} 0.0' in page
        assert 'mlxknife_models_loaded{state="ready"} 2.0' in page
        assert 'mlxknife_models_loaded{state="loading"} 1.0' in page
        assert "mlxknife_requests_in_flight 4.0" in page
