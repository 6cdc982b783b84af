"""Requests that schemathesis makes from the server's OpenAPI description, valid and invalid ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.e2e.fuzzing import CHAT, TEXT, Shot, fault
from tests.e2e.wire import Line, bounded, get, line, post
from tests.fake_server import FakeServer
from tests.parrot import parrot_folder
from tests.scorecard import Scorecard

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.filterwarnings("ignore")]

ONCE = [Phase.generate]
MODEL = parrot_folder().name


def described(one: Line, examples: int, seed: int) -> int:
    """Send requests made from the description; return their number."""
    schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    document = json.loads(one.ask(get("/openapi.json")).body)
    schema = schemathesis.openapi.from_dict(document)
    sent = list[Shot]()

    def sender(path: str, cases: Any) -> Callable[[], None]:  # noqa: ANN401 - without types
        @seeded(seed)
        @settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=[*HealthCheck], phases=ONCE
        )
        @given(cases)
        def send(case: Any) -> None:  # noqa: ANN401
            for body in _bodies(case.body):
                shot = Shot(path, body)
                sent.append(shot)
                reply = one.ask(post(path, body))
                assert fault(shot, reply) is None, (shot, reply)

        made: Callable[[], None] = send
        return made

    for path in (CHAT, TEXT):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            sender(path, schema[path]["POST"].as_strategy(generation_mode=mode))()
    return len(sent)


def _bodies(body: object) -> list[bytes]:
    """Return a body as it was made, and with the name of the model."""
    try:
        made = [body, {**body, "model": MODEL, "max_tokens": 4}] if isinstance(body, dict) else [body]
        return [json.dumps(one, allow_nan=False).encode() for one in made]
    except (TypeError, ValueError):  # JSON cannot express it
        return []


def run(examples: int, scorecard: Scorecard) -> None:
    with FakeServer(parrot_folder()) as server, line(server.port) as one, bounded(server.pid):
        sent = described(one, examples, scorecard.seed)
    scorecard.record(counts={"requests": sent})
    assert sent > examples
    assert "Traceback" not in server.stderr


def test_requests_from_the_description_are_answered_or_refused_by_name(scorecard: Scorecard) -> None:
    run(40, scorecard)


@pytest.mark.stress(part="schema-requests")
def test_thousands_of_requests_from_the_description_are_answered_or_refused_by_name(scorecard: Scorecard) -> None:
    run(1500, scorecard)
