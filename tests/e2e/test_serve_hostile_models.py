"""Malicious models: their own requests fail, the server and other requests do not."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, eventually, parrot_in, serving
from tests.e2e.talking import chat, gathered
from tests.e2e.wire import Line, bounded, line, post
from tests.fake_server import FakeServer
from tests.fake_server.worker import HANGING_TEXT
from tests.parrot import ANSWERS, answers, parrot_folder
from tests.parrot.tokens import TEMPLATE

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ENDS = {"256": -100, "258": -100}
"""A logit bias with which the parrot never ends."""
TEMPLATES = {
    "hangs": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "eats": "{{ 'a' * 2000000000 }}",
    "counts": "{{ 10 ** (10 ** 7) }}",
    "grows": "{% for a in range(9999) %}{{ 'a' * 999999 }}{% endfor %}",
    "reads": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "recurses": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "refuses": "{{ raise_exception('no') }}",
    "is none": "{% if %}",
}


def ask(one: Line, model: str, *, path: str = CHAT) -> tuple[int, dict[str, object]]:
    asked = {"messages": [{"role": "user", "content": "Hello!"}]} if path == CHAT else {"prompt": "a", "max_tokens": 2}
    reply = one.ask(post(path, json.dumps({"model": model, **asked}).encode()))
    return reply.status, json.loads(reply.body)


def greets(one: Line, model: str = "parrot") -> bool:
    return ANSWERS[answers.GREETING] in json.dumps(ask(one, model))


def with_template(machine: Machine, name: str, template: str) -> None:
    folder = parrot_in(machine, name)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))


@pytest.mark.parametrize(
    "kinds",
    [("hangs", "eats", "refuses"), pytest.param((*TEMPLATES,), marks=pytest.mark.stress(part="hostile-models"))],
)
def test_a_malicious_template_fails_its_own_request_only(machine: Machine, kinds: tuple[str, ...]) -> None:
    parrot_in(machine)
    names = {f"bad-{number}": TEMPLATES[kind] for number, kind in enumerate(kinds)}
    for name, template in names.items():
        with_template(machine, name, template)
    with serving(machine, "--model", "parrot") as server, Line(server.port) as one, Line(server.port, 60) as bad:
        assert greets(one)
        with bounded(server.pid):
            for name, template in names.items():
                asked = {"model": name, "messages": [{"role": "user", "content": "Hello!"}]}
                bad.send(post(CHAT, json.dumps(asked).encode()))
                time.sleep(0.2)
                assert greets(one), name
                reply = bad.reply()
                assert reply is not None
                error = json.loads(reply.body).get("error", {})
                assert (reply.status, error.get("type"), error.get("param")) == (422, "template_error", "messages"), (
                    template,
                    reply.body,
                )
            assert ask(bad, name, path=TEXT)[0] == 200, "the model itself is whole"
        assert greets(one)


def test_a_template_that_hangs_on_one_conversation_does_not_stop_other_requests_of_its_model(machine: Machine) -> None:
    hanging = "{% if messages[-1].content == 'hang' %}" + TEMPLATES["hangs"] + "{% endif %}"
    with_template(machine, "parrot", hanging + TEMPLATE)
    with serving(machine, "--model", "parrot") as server:
        assert server.chat("parrot", answers.GREETING).text() == ANSWERS[answers.GREETING]
        worker = server.worker()
        stream = server.chat_stream("parrot", answers.LONG, logit_bias=ENDS, max_tokens=400).begun()
        with ThreadPoolExecutor(2) as pool:
            bad = pool.submit(server.chat, "parrot", "hang", stream=True)
            time.sleep(0.5)
            with line(server.port) as waiting:  # for the renderer, until it disconnects
                waiting.send(post(CHAT, json.dumps(chat("parrot", answers.CAPITAL)).encode()))
                eventually(lambda: running(server) == 3)
            eventually(lambda: running(server) == 2)
            assert server.ask(TEXT, {"model": "parrot", "prompt": "a", "max_tokens": 2}).status == 200
            assert gathered(stream).choices[0].finish == "length"
            assert not bad.done(), "neither waited for the template"
            good = pool.submit(server.chat, "parrot", answers.CAPITAL)
            assert (bad.result().status, bad.result().error()["type"]) == (422, "template_error")
            assert good.result().text() == ANSWERS[answers.CAPITAL]
        assert server.worker() == worker


def test_a_tokenizer_that_hangs_costs_the_process_of_its_model_and_not_the_server() -> None:
    model = parrot_folder().name
    endless = {"model": model, "prompt": "a", "max_tokens": 1900, "temperature": 1, "stream": True}
    with FakeServer(parrot_folder(), step_seconds=0.05) as server, Line(server.port) as other, Line(server.port) as one:
        other.send(post(TEXT, json.dumps(endless).encode()))
        other.wait_for(b"data: ")
        one.send(post(TEXT, json.dumps({"model": model, "prompt": HANGING_TEXT, "stream": True}).encode()))
        with line(server.port) as third:
            assert (
                third.ask(post(TEXT, json.dumps({"model": model, "prompt": "b", "max_tokens": 2}).encode())).status
                == 200
            )
        assert not one.has_data(), "it did not wait for the tokenizer"
        refused, broken = one.reply(), other.reply()
        assert refused is not None
        assert broken is not None
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        error = json.loads(refused.body)["error"]
        assert (error["type"], error["retryable"]) == ("worker_lost", True)
        assert "Tokenizing a prompt took longer than 10 seconds" in error["message"]
        assert json.loads(broken.body.rpartition(b"data: ")[2])["error"]["type"] == "worker_lost"
        assert greets(one, model)
    assert "Traceback" not in server.stderr


def running(server: Server) -> int:
    (model,) = server.ask("/health").document()["models"]
    return int(model["running"])


def _config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _break(kind: str, folder: Path) -> None:
    """Damage a model in a way that its listing does not show."""
    config = json.loads((folder / "config.json").read_text())
    match kind:
        case "tokenizer-nonsense":
            (folder / "tokenizer.json").write_text('{"model":{"type":"BPE","vocab":{"a":-1},"merges":[["a","b"]]}}')
        case "tokenizer-deep":
            (folder / "tokenizer.json").write_text('{"a":' * 50_000 + "1" + "}" * 50_000)
        case "tokenizer-cut":
            (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:200])
        case "wide":
            _config(folder, hidden_size=2**40, intermediate_size=2**40)
        case "deep":
            _config(folder, num_hidden_layers=10**6)
        case "negative":
            _config(folder, num_attention_heads=-3, vocab_size=-1)
        case "words":
            _config(folder, hidden_size="many", vocab_size=None, rope_theta="x")
        case "code":
            _config(folder, model_file="evil.py", auto_map={"AutoModel": "evil.Evil"})
            (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
        case "other-shape":
            _config(folder, num_hidden_layers=config["num_hidden_layers"] + 1)
        case _:
            raise AssertionError(kind)


KINDS = "tokenizer-nonsense tokenizer-deep tokenizer-cut wide code deep negative words other-shape".split()


@pytest.mark.parametrize("kinds", [KINDS[1::3], pytest.param(KINDS, marks=pytest.mark.stress(part="hostile-models"))])
def test_a_malicious_model_is_an_error_and_the_server_goes_on(machine: Machine, kinds: list[str]) -> None:
    parrot_in(machine)
    folders = {kind: parrot_in(machine, kind) for kind in kinds}
    for kind, folder in folders.items():
        _break(kind, folder)
    with serving(machine, "--model", "parrot") as server, Line(server.port, 60) as one:
        assert greets(one)
        with bounded(server.pid):
            for kind in kinds:
                status, document = ask(one, kind)
                assert status in (400, 404, 422, 500, 503, 507), (kind, document)
                error = document["error"]
                assert isinstance(error, dict)
                assert error["type"] != "InternalError", (kind, document)
                assert str(machine.root) not in json.dumps(document), kind
                assert greets(one), kind
        eventually(lambda: len(server.workers()) <= 1)
        assert not any((folder / "ran").exists() for folder in folders.values())
        assert not any("Traceback" in text for text in server.lines)


def test_a_model_that_is_removed_while_loaded_answers_or_is_an_error(machine: Machine) -> None:
    """Its folder is removed while it is loaded: it may go on to answer, and later it is not found."""
    parrot_in(machine)
    gone = parrot_in(machine, "gone")
    with serving(machine, "--model", "parrot") as server, line(server.port) as one:
        assert ask(one, "gone")[0] == 200
        shutil.rmtree(gone)
        assert ask(one, "gone")[0] in (200, 404)
        eventually(lambda: ask(one, "gone")[0] == 404)
        assert greets(one)
