"""Models of any size for tests of the model pool, and a request for them."""

from __future__ import annotations

from functools import cache

import attrs

from mlxknife.domain.catalog.services.runnable import RunnableModel, find_runnable
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.services.servable_models import ServableModel
from tests.builder import json_bytes, safetensors
from tests.unit.facts import facts_of
from tests.unit.session_setup import make_catalog

UNIT = 4096
"""Bytes of a unit of memory."""


@cache
def _any_model() -> RunnableModel:
    return find_runnable(make_catalog(), "one")


@cache
def servable(name: str, units: int = 1) -> ServableModel:
    """Return a model that needs so many units of memory, and a tenth more."""
    weights = safetensors({"layer.weight": ("F32", (units, UNIT // 4))})
    model = _any_model()
    facts = facts_of({"model.safetensors": weights, "config.json": json_bytes({"model_type": "llama"})})
    return ServableModel(RunnableModel(attrs.evolve(model.info, name=name), Location(name, (name,)), facts))


def request(answers: int = 1) -> GenerationRequest:
    """Return a request with so many answers."""
    return GenerationRequest((Message("user", "Hello"),), options=GenerationOptions(n=answers))
