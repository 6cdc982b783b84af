"""Conformance to JSON Schema: the public test suite against the grammars, and random models under generated schemas.

The suite comes with the source package of ``jsonschema``, which the stress part downloads from the package index.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

from mlxknife.adapters.mlx.text.model import MlxTextModel
from mlxknife.domain.constraints.rules.builder import GrammarBuilder
from mlxknife.domain.constraints.rules.keywords import FORMATS
from mlxknife.domain.constraints.values import Constraint
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import answer_grammar
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from tests.grammar_walks import accepts, tokenizer_of
from tests.json_schemas import schemas
from tests.parrot_rows import random_text_model, run_rows, tokens
from tests.scorecard import Scorecard
from tests.shared import WHEELS

_DRAFT = "json/tests/draft2020-12"
_OUR_FORM = 24
"""The largest number of orders of properties, and of combinations of them, that are tried for an instance."""
_TOKENS = 120


def _grammar(schema: object, tokenizer: Any) -> str:  # noqa: ANN401 - of the fake or of the parrot
    builder = GrammarBuilder(tokenizer.added_tokens)
    return answer_grammar.constrained(builder, None, Constraint.json_schema(json.dumps(schema)))


@pytest.mark.stress(part="schema-conformance")
def test_no_invalid_instance_of_the_public_suite_is_accepted(scorecard: Scorecard) -> None:
    counts: Counter[str] = Counter()
    for name, group in _suite():
        try:
            grammar = _grammar(group["schema"], tokenizer_of())
            accepts(grammar, "")
        except ValidationError as exc:
            counts["refused by keyword" if exc.param else "refused by the compiler"] += 1
            continue
        counts["groups held"] += 1
        for test in group["tests"]:
            if name.startswith("format") or "vocabulary" in name:  # a format is demanded here, not only described
                continue
            is_accepted = any(accepts(grammar, json.dumps(one, ensure_ascii=False)) for one in _orders(test["data"]))
            counts[f"{'valid' if test['valid'] else 'invalid'} {'accepted' if is_accepted else 'rejected'}"] += 1
            assert test["valid"] or not is_accepted, (name, group["description"], test)
    scorecard.record(counts=counts)
    assert counts["groups held"] > 100
    assert counts["valid accepted"] > 10 * counts["valid rejected"]  # those are numbers such as 1.0, and rare addresses


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.stress(part="schema-conformance"))])
def test_every_finished_answer_of_a_random_model_is_valid(count: int, scorecard: Scorecard) -> None:
    seed = scorecard.seed
    found: list[Any] = []

    @with_seed(seed)
    @settings(max_examples=3 * count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32), schemas())
    def generate(_: int, schema: Any) -> None:  # noqa: ANN401
        if len(found) < count and schema not in found:
            found.append(schema)

    generate()
    counts: Counter[str] = Counter(schemas=len(found))
    with closing(random_text_model(seed)) as model:
        rows = dict(_rows(model, found, counts, seed))
        outputs = run_rows(model, rows)
        for row, schema in rows.items():
            if outputs.finish_reason(row.id) is not FinishReason.STOP:
                counts["cut at the limit"] += 1
                continue
            text = b"".join(map(model.tokenizer.token_bytes, outputs.tokens(row.id)[:-1])).decode()
            jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)
            counts["valid"] += 1
    assert not outputs.errors
    assert counts["valid"] > count // 3
    scorecard.record(counts=counts)


def _rows(model: MlxTextModel, found: list[Any], counts: Counter[str], seed: int) -> Iterator[tuple[Row, Any]]:
    for number, schema in enumerate(found):
        sampling = SamplingParameters(temperature=2.0, seed=seed + number)
        try:
            grammar = _grammar(schema, model.tokenizer)
            model.compile_grammar(grammar)
        except ValidationError:
            counts["refused"] += 1
            continue
        yield Row(number, tokens("x"), _TOKENS, sampling, grammar=grammar), schema


def _orders(data: Any) -> Iterator[Any]:  # noqa: ANN401 - a JSON value
    """Yield an instance with its properties in different orders: a grammar has them in the order of the schema."""
    if isinstance(data, dict):
        for names in itertools.islice(itertools.permutations(data), _OUR_FORM):
            for values in itertools.islice(itertools.product(*(_orders(data[name]) for name in names)), _OUR_FORM):
                yield dict(zip(names, values, strict=True))
    elif isinstance(data, list):
        yield from map(list, itertools.islice(itertools.product(*map(_orders, data)), _OUR_FORM))
    else:
        yield data


def _suite() -> Iterator[tuple[str, Any]]:
    """Yield the groups of the suite: all keywords, and the supported formats."""
    release, folder = version("jsonschema"), WHEELS.parent / "sdists"
    archive = folder / f"jsonschema-{release}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "jsonschema"]
        subprocess.run([*command, "--dest", str(folder), f"jsonschema=={release}"], check=True, timeout=600)
    with tarfile.open(archive) as packed:
        for name in sorted(packed.getnames()):
            place, _, file = name.partition(f"{_DRAFT}/")
            is_format = file.startswith("optional/format/") and Path(file).stem in FORMATS
            content = packed.extractfile(name) if place and (is_format or ("/" not in file and file)) else None
            if content is not None:
                yield from ((Path(file).stem, group) for group in json.load(content))
