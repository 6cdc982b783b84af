"""Models that can be served, of any size, and rows for them, for tests of who may stay."""

from __future__ import annotations

from functools import cache

import attrs

from mlxknife.domain.catalog.services.runnable import Runnable, runnable
from mlxknife.domain.generation.services.answer_stream import Narration
from mlxknife.domain.generation.values.generation import FinishReason
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowStep
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.services.servable_models import Prepared, Served
from tests.builder import json_bytes, safetensors
from tests.fakes.engine import FakeEngine, FakeModel
from tests.fakes.tokenizers import FakeTokenizer
from tests.unit.chatting import chat
from tests.unit.facts import facts_of

UNIT = 4096
"""Bytes of a unit of memory."""


@cache
def _some_model() -> Runnable:
    return runnable(chat(FakeEngine(FakeModel())).catalog, "one")


@cache
def served(name: str, units: int = 1) -> Served:
    """Return a model that takes so many units of memory, and a tenth more."""
    weights = safetensors({"layer.weight": ("F32", (units, UNIT // 4))})
    some = _some_model()
    facts = facts_of({"model.safetensors": weights, "config.json": json_bytes({"model_type": "llama"})})
    return Served(Runnable(attrs.evolve(some.info, name=name), Location(name, (name,)), facts))


def prepared(*, answers: int = 1, stops: tuple[str, ...] = ()) -> Prepared:
    """Return a request of three tokens."""
    rows = tuple(Row(number, (1, 2, 3), 100) for number in range(answers))
    return Prepared(rows, tuple(Narration(FakeTokenizer((), ""), 3, stops=stops) for _ in rows), 3)


def said(row: int, text: str) -> BatchStep:
    """Return the step of a row that says a letter."""
    (byte,) = text.encode()
    return BatchStep((RowStep(row, byte),))


def over(row: int) -> BatchStep:
    """Return the last step of a row."""
    return BatchStep((RowStep(row, 0, FinishReason.STOP),))
