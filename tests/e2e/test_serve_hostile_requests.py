"""Requests that crash other servers, and thousands of mutated ones, against a real model: all get a response."""

from __future__ import annotations

import json
import sys
from collections import Counter
from random import Random, SystemRandom

import pytest

from tests.e2e.fuzzing import CHAT, TEXT, fault, heads, shots
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.wire import Line, bounded, get, line, post

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = "parrot"
GREETING = [{"role": "user", "content": "Hello!"}]
ANSWER = "Hello! How can I help you today?"


def asked(one: Line, path: str, **body: object) -> tuple[int, dict[str, object]]:
    reply = one.ask(post(path, json.dumps({"model": MODEL, **body}).encode()))
    return reply.status, json.loads(reply.body)


def greets(one: Line) -> bool:
    status, document = asked(one, CHAT, messages=GREETING, max_tokens=64)
    return status == 200 and ANSWER in json.dumps(document)


def test_requests_that_crash_other_servers_are_answered(machine: Machine) -> None:
    with serving(machine, "--model", str(parrot_in(machine))) as server, line(server.port) as one:
        assert greets(one)
        worker = server.worker()
        status, document = asked(one, CHAT, messages=GREETING, stop=5)
        assert (status, _param(document)) == (400, "stop")
        status, document = asked(one, TEXT, prompt=["Hello!", "Hello!"], max_tokens=4)
        assert status == 200
        status, document = asked(one, CHAT, messages=["Hello!"])
        assert (status, _param(document)) == (400, "messages[0]")
        for _ in range(3):  # a prompt that is in the cache from its first to its last token
            assert asked(one, TEXT, prompt="Hello!", max_tokens=1)[0] == 200
            assert asked(one, TEXT, prompt=[1, 2, 3], max_tokens=4)[0] == 200
            assert greets(one)
        assert server.worker() == worker


def _param(document: dict[str, object]) -> object:
    error = document["error"]
    assert isinstance(error, dict)
    return error["param"]


def bombard(machine: Machine, bodies: int, raw: int) -> None:
    """Send mutated bodies and mutated raw requests; the seed is printed, to repeat them."""
    seed = SystemRandom().randrange(2**32)
    sys.stdout.write(f"\nseed {seed}\n")
    random = Random(seed)
    counted: Counter[int] = Counter()
    with serving(machine, "--model", str(parrot_in(machine)), "--max-tokens", "4") as server:
        with line(server.port) as one:
            assert greets(one)
            worker = server.worker()
            with bounded(server.pid):
                for _, shot in zip(range(bodies), shots(MODEL, random), strict=False):
                    reply = one.ask(post(shot.path, shot.body))
                    counted[reply.status] += 1
                    assert fault(shot, reply) is None, (seed, shot, reply)
                _send_raw(server, random, raw, counted)
            assert server.worker() == worker
            assert greets(one)
        assert "Traceback" not in "\n".join(server.lines)
    sys.stdout.write(f"{dict(counted)}\n")


def _send_raw(server: Server, random: Random, count: int, counted: Counter[int]) -> None:
    """Send mutated bytes, each on a connection that the client closes: the server may rightly wait for more."""
    for _, data in zip(range(count), heads(MODEL, random), strict=False):
        with line(server.port) as other:
            other.send(data)
            other.finish()
            for reply in other.replies():
                counted[reply.status] += 1
                assert reply.status < 500 or reply.status == 503, (data, reply)


def test_mutated_requests_are_refused_and_crash_nothing(machine: Machine) -> None:
    bombard(machine, 300, 200)


@pytest.mark.stress(part="hostile-requests")
def test_thousands_of_mutated_requests_are_refused_and_crash_nothing(machine: Machine) -> None:
    bombard(machine, 7000, 3000)


def test_a_client_can_open_no_model_by_its_path(machine: Machine) -> None:
    """Neither a path nor the name of a folder opens a model that the server does not know by name."""
    elsewhere = parrot_in(machine).rename(machine.root / "secret-model")
    near = machine.root / "user" / "secret-model"
    near.parent.mkdir(exist_ok=True)
    near.symlink_to(elsewhere)
    names = [
        str(elsewhere),
        "~/secret-model",
        "~",
        "./secret-model",
        "secret-model",
        "../secret-model",
        ".",
        "/",
        "hub",
    ]
    names += [f"file://{elsewhere}", f"{elsewhere}/", f"../../{elsewhere}", "workspaces", "workspaces/parrot", "user"]
    with serving(machine) as server, line(server.port) as one:
        for name in names:
            for path, body in ((CHAT, {"messages": GREETING}), (TEXT, {"prompt": "a"})):
                reply = one.ask(post(path, json.dumps({"model": name, **body}).encode()))
                error = json.loads(reply.body)["error"]
                is_no_name = error["type"] == "ValidationError" and reply.status == 400
                assert is_no_name or (reply.status, error["type"]) == (404, "model_not_found"), name
                assert error["param"] == "model"
        assert server.workers() == []
        assert [model["id"] for model in json.loads(one.ask(get("/v1/models")).body)["data"]] == []
