"""The catalog is right about every cache, however damaged."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife import App, open_app
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.names.rules.naming import repo_name
from tests.builder import CacheBuilder
from tests.property import damage, strategies
from tests.property.damage import Damage
from tests.property.reference import read_by_the_reference
from tests.property.strategies import ModelPlan

_few = settings(max_examples=60)
_odd_folders = st.lists(strategies.repo_folders(), max_size=2, unique=True)
_plans = st.lists(st.one_of(strategies.good_plans(), strategies.damaged_plans()), min_size=1, max_size=3)
_damaged = st.lists(strategies.damaged_plans(), min_size=1, max_size=3)


@contextlib.contextmanager
def _opened(plans: list[ModelPlan], odd_folders: list[str]) -> Iterator[App]:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "hub")
        root.mkdir()
        for folder in odd_folders:
            (root / folder).mkdir(exist_ok=True)
        cache = CacheBuilder(root)
        for number, plan in enumerate(plans):
            built = cache.model(f"org/model{number}", plan.files, layout=plan.layout)
            for hurt in plan.damages:
                damage.apply(built, hurt)
        yield open_app(hub_cache=root, workspace_home=Path(place, "home"), environment={"XDG_CONFIG_HOME": place})


def _repo_folders(app: App) -> list[str]:
    return [folder for folder in os.listdir(app.settings.hub_cache) if folder.startswith("models--")]


def _without_order(infos: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    return {info.name: info for info in infos}


@_few
@given(_plans, _odd_folders)
def test_no_model_hides_another_and_none_is_listed_twice(plans: list[ModelPlan], odd: list[str]) -> None:
    with _opened(plans, odd) as app:
        listed = Counter(info.name for info in app.catalog.list())
        assert listed == Counter(map(repo_name, _repo_folders(app)))
        assert max(listed.values()) == 1


@_few
@given(_plans, _odd_folders)
def test_list_and_health_agree(plans: list[ModelPlan], odd: list[str]) -> None:
    with _opened(plans, odd) as app:
        listed = [(info.name, info.integrity) for info in app.catalog.list()]
        assert [(entry.name, entry.integrity) for entry in app.health.check().entries] == listed


@_few
@given(_plans, _odd_folders)
def test_an_unhealthy_model_has_a_reason_and_cannot_run(plans: list[ModelPlan], odd: list[str]) -> None:
    with _opened(plans, odd) as app:
        for info in app.catalog.list():
            assert info.reason or info.runtime_compatible
            assert info.integrity.healthy or not info.runtime_compatible


@_few
@given(strategies.good_plans(), _damaged, _odd_folders)
def test_an_intact_model_is_healthy_whatever_is_beside_it(
    good: ModelPlan, damaged: list[ModelPlan], odd: list[str]
) -> None:
    with _opened([good, *damaged], odd) as app:
        info = _without_order(app.catalog.list())["org/model0"]
        assert info.integrity.healthy, info.reason


@_few
@given(_plans, _odd_folders)
def test_every_listed_name_resolves_to_the_same_model(plans: list[ModelPlan], odd: list[str]) -> None:
    with _opened(plans, odd) as app:
        for info in app.catalog.list():
            assert app.catalog.show(info.name).info == info
            assert [entry.name for entry in app.health.check(info.name).entries] == [info.name]


@settings(max_examples=150)
@given(_damaged)
def test_a_healthy_model_can_be_read(plans: list[ModelPlan]) -> None:
    with _opened(plans, []) as app:
        for info in app.catalog.list():
            if info.integrity.healthy:
                _read_everything(app, info.name)


@_few
@given(strategies.good_plans(), strategies.weight_damages())
def test_weights_that_stay_healthy_after_a_change_can_be_read(plan: ModelPlan, hurt: Damage) -> None:
    with _opened([attrs.evolve(plan, damages=(hurt,))], []) as app:
        for info in app.catalog.list():
            if info.integrity.healthy:
                _read_everything(app, info.name)


def _read_everything(app: App, name: str) -> None:
    location = app.finder.find(name).location
    assert location is not None
    snapshot = Path(location.token)
    gguf_only = not any(path.name.endswith((".safetensors", ".bin", ".npz")) for path in snapshot.iterdir())
    if not gguf_only:
        assert json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
    for path in snapshot.rglob("*.safetensors"):
        read_by_the_reference(path.read_bytes())
