"""Malicious models: their own requests fail, the server and other requests do not."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.processes import Machine
from tests.e2e.serving import eventually, parrot_in, serving
from tests.e2e.wire import Line, bounded, line, post

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

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


def greets(one: Line) -> bool:
    return "Hello! How can I help you today?" in json.dumps(ask(one, "parrot"))


def with_template(machine: Machine, name: str, template: str) -> None:
    folder = parrot_in(machine, name)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))


@pytest.mark.parametrize("kinds", [("hangs", "eats", "refuses"), pytest.param((*TEMPLATES,), marks=pytest.mark.stress)])
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


@pytest.mark.parametrize("kinds", [KINDS[1::3], pytest.param(KINDS, marks=pytest.mark.stress)])
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
