"""Secrets: no log and no response shows a token, a key or a home folder, whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from urllib.parse import quote

import attrs
import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, eventually, parrot_in, serving
from tests.e2e.wire import Line, get, line, post

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TOKEN = "hf_PlantedTokenPlantedToken123456"
KEY = "planted-key-0123456789"
WRONG_KEY = "wrong-key-of-a-client-9876"
HOME = "planted-home"
GREETING = [{"role": "user", "content": "Hello!"}]


@attrs.define
class RecordingClient:
    """Sends requests, and keeps every byte of the responses."""

    one: Line
    key: str = KEY
    received: list[bytes] = attrs.field(factory=list)

    def ask(self, data: bytes) -> int:
        head, _, body = data.partition(b"\r\n\r\n")
        given = f"\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode()
        self.one.send(head + given + body)
        reply = self.one.reply()
        if reply is None or reply.header("connection") == "close":
            self.one.close()
        if reply is None:
            return 0
        self.received += [reply.head, reply.body]
        return reply.status

    def chat(self, **body: object) -> int:
        return self.ask(post(CHAT, json.dumps({"model": "parrot", "messages": GREETING, **body}).encode()))


def _names(machine: Machine) -> Iterator[str]:
    home = str(machine.root)
    yield from (home, f"{home}/workspaces/parrot", f"{home}/workspaces/parrot/", f"{home}/hub", TOKEN, f"org/{TOKEN}")
    yield from (
        KEY,
        f"Bearer {KEY}",
        "~",
        "~/x",
        "none/such",
        "bad-template",
        "bad-weights",
        "bad-config",
        "a//b",
        "\0",
    )
    yield from (f"{home}/workspaces/none\n", f"org/model@{TOKEN}", f"hf://{TOKEN}@x/y")


def provoke(machine: Machine, server: Server, client: RecordingClient) -> set[int]:
    """Provoke every kind of error; return the statuses."""
    seen = {client.chat(), client.chat(stream=True)}
    for name in _names(machine):
        seen.add(client.chat(model=name))
        seen.add(client.ask(post(TEXT, json.dumps({"model": name, "prompt": TOKEN}).encode())))
        seen.add(client.ask(get(f"/v1/models/{quote(name)}")))
    home = str(machine.root)
    for body in (f'{{"model":"{home}",', f'"{TOKEN}"', f'{{"{KEY}":}}', "", f'{{"model":{{"{TOKEN}":1}}}}'):
        seen.add(client.ask(post(CHAT, body.encode())))
    odd = f"{home} {TOKEN} {KEY}"
    for more in (
        {"stop": 5},
        {"tools": [{"x": odd}]},
        {"logit_bias": {odd: 1}},
        {"messages": [{"role": odd}]},
        {"n": odd},
    ):
        seen.add(client.chat(**more))
    seen.add(client.chat(messages=[{"role": "user", "content": [{"type": odd}]}]))
    for path in (f"/{TOKEN}", f"/x?key={KEY}", f"/v1/models/{TOKEN}?token={TOKEN}", f"/{home}", "/health"):
        seen |= {client.ask(get(path)), client.ask(post(path, b"{}"))}
    for header in (f"Origin: http://{TOKEN}", f"X-Request-ID: {TOKEN}", f"Cookie: {TOKEN}", f"X-Api-Key: {KEY}"):
        seen.add(client.ask(get("/health", header)))
    seen |= {client.ask(get("/health", host=TOKEN)), client.ask(f"GET /{TOKEN} {KEY}\r\n\r\n".encode())}
    client.key = WRONG_KEY
    seen |= {client.chat(), client.ask(get("/v1/models"))}
    client.key = KEY
    _kill_while_it_answers(server, client)
    seen |= {
        client.chat(),
        client.chat(model="bad-weights"),
        client.ask(get("/metrics")),
        client.ask(get("/v1/models")),
    }
    return seen


def _kill_while_it_answers(server: Server, client: RecordingClient) -> None:
    stream = server.stream(
        TEXT, {"model": "parrot", "prompt": "a", "max_tokens": 20_000, "temperature": 1}, Authorization=f"Bearer {KEY}"
    )
    stream.begun()
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    list(stream)
    client.received.append(json.dumps(stream.error).encode())
    eventually(lambda: client.chat() in (200, 503))


def bad_models(machine: Machine) -> None:
    parrot_in(machine)
    template = parrot_in(machine, "bad-template") / "tokenizer_config.json"
    words = f"{{{{ raise_exception('{machine.root}/x {TOKEN} {KEY}') }}}}"
    (template.parent / "chat_template.jinja").unlink(missing_ok=True)
    template.write_text(json.dumps({**json.loads(template.read_text()), "chat_template": words}))
    (weights,) = parrot_in(machine, "bad-weights").glob("*.safetensors")
    config = parrot_in(machine, "bad-config") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": f"{machine.root} {TOKEN}"}))
    broken = json.loads((weights.parent / "config.json").read_text())
    (weights.parent / "config.json").write_text(json.dumps({**broken, "num_hidden_layers": 5}))


@pytest.mark.parametrize(
    "words", [("--log-json",), pytest.param((), marks=pytest.mark.stress(part="secrets"))], ids=["as JSON", "as text"]
)
def test_no_error_shows_a_secret(machine: Machine, words: tuple[str, ...]) -> None:
    machine = Machine(machine.root / HOME)
    machine.root.mkdir()
    bad_models(machine)
    home = str(machine.root)
    said = ("--model", "parrot", "--log-level", "debug", *words)
    with (
        serving(machine, *said, HF_TOKEN=TOKEN, MLXK_API_KEY=KEY, HOME=home) as server,
        line(server.port) as one,
    ):
        client = RecordingClient(one)
        seen = provoke(machine, server, client)
    assert {200, 400, 401, 403, 404, 405, 422} <= seen
    written = {"response": client.received, "log": [text.encode() for text in server.lines]}
    for what, lines in written.items():
        for secret in (TOKEN, KEY, WRONG_KEY, HOME):
            found = [text for text in lines if secret.encode() in text]
            assert not found, (what, secret, found[:3])
    assert len(server.lines) > 50
    if words:
        for text in server.lines:
            _check_line(text)
        return
    assert all("\x1b" not in text for text in server.lines)


def _check_line(text: str) -> None:
    document = json.loads(text)
    assert {"ts", "level", "msg", "logger"} <= set(document)
    assert set(document) <= {"ts", "level", "msg", "logger", "model", "request_id", "detail", "duration_ms"}
    assert isinstance(document["ts"], float | int)
    assert document["level"] in ("DEBUG", "INFO", "WARN", "ERROR")
