"""The numbers, as Prometheus reads them."""

from __future__ import annotations

from mlxknife.http.metrics import Metrics
from tests.fakes.serving import FakeResident, FakeState


def test_answers_are_counted_by_name_whatever_is_loaded_under_it() -> None:
    metrics = Metrics()
    residents = [FakeResident("a", running=2), FakeResident("a", running=3), FakeResident("b", FakeState.LOADING)]
    for _ in range(2):
        page = metrics.page(residents, 4).decode().splitlines()
        assert 'mlxknife_answers_running{model="a"} 5.0' in page
        assert 'mlxknife_answers_running{model="b"} 0.0' in page
        assert 'mlxknife_models_loaded{state="ready"} 2.0' in page
        assert "mlxknife_requests_in_flight 4.0" in page
