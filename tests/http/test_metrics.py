"""Metrics in the text format of Prometheus."""

from __future__ import annotations

from typing import cast

from mlxknife.domain.serving.services.loaded_model import Resident
from mlxknife.http.core.metrics import Metrics
from tests.fakes.serving import FakeLoadedModel, FakeState


def test_running_answers_are_added_up_for_models_of_the_same_name() -> None:
    metrics = Metrics()
    models = [FakeLoadedModel("a", running=2), FakeLoadedModel("a", running=3), FakeLoadedModel("b", FakeState.LOADING)]
    for _ in range(2):
        page = metrics.page(cast("list[Resident]", models), 4).decode().splitlines()
        assert 'mlxknife_answers_running{model="a"} 5.0' in page
        assert 'mlxknife_answers_running{model="b"} 0.0' in page
        assert 'mlxknife_models_loaded{state="ready"} 2.0' in page
        assert "mlxknife_requests_in_flight 4.0" in page
