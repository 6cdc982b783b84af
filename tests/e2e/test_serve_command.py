"""The command ``serve``: its output, the errors before it listens, the API key, and the log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.processes import BIN, Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import PATIENCE, Reply, chat, sent
from tests.parrot import ANSWERS, answers, parrot_folder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "sk-parrot"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--api-key", KEY, "--max-tokens", "7", "--log-json", "--model", str(parrot_folder())) as made:
        yield made


def test_it_prints_one_document_and_nothing_else_on_stdout(machine: Machine) -> None:
    program = (str(BIN / "mlxk"), "server")
    with serving(machine, program=program) as server:
        data = server.envelope["data"]
        assert (server.envelope["command"], server.envelope["error"]) == ("server", None)
        assert data == {"url": f"http://127.0.0.1:{server.port}", "model": None, "pid": server.pid}
        assert server.ask("/v1/models").document() == {"object": "list", "data": []}
        assert not server.workers()
        assert server.end() == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARN)", line) for line in server.lines)


def test_it_prints_the_address_as_text(machine: Machine) -> None:
    with subprocess.Popen(
        [str(BIN / "mlxk"), "serve"],
        env=machine.environment(MLXK_PORT="0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert re.fullmatch(r"Serving on http://127\.0\.0\.1:\d+ \(Ctrl-C stops it\)\n", process.stdout.readline())
            process.terminate()
            assert process.wait(PATIENCE) == 0
            assert process.stdout.read() == ""
        finally:
            process.kill()


def test_at_the_level_of_errors_it_prints_nothing_else(tmp_path: Path) -> None:
    """Neither its address, nor requests, nor warnings, nor its end."""
    machine = Machine(tmp_path)
    parrot_in(machine)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("serve", "--log-level", "error", "--host", "0.0.0.0", "--port", str(port), "--model", "parrot")
    with subprocess.Popen(
        [str(BIN / "mlxk"), *words],
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            question = chat("parrot", next(iter(ANSWERS)))
            reply = _asked_when_it_listens(port, question)
            assert reply.status == http.HTTPStatus.OK
            process.terminate()
            assert process.communicate(timeout=PATIENCE) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


def _asked_when_it_listens(port: int, question: Mapping[str, object]) -> Reply:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            try:
                response = sent(connection, "/v1/chat/completions", question, {})
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
                continue
            return Reply(response.status, dict(response.getheaders()), response.read())


@pytest.mark.parametrize(
    ("words", "variables", "part"),
    [
        (("--port", "70000"), {}, "port must be between 0 and 65535, not 70000"),
        (("--port", "-1"), {}, "port must be between 0 and 65535, not -1"),
        (("--host", "nowhere.invalid"), {}, "'nowhere.invalid' is not a host of this machine"),
        (("--host", "192.0.2.1"), {}, "192.0.2.1 is not an address of this machine"),
        ((), {"MLXK_PORT": "x"}, "MLXK_PORT must be a number"),
        ((), {"MLXK_MAX_TOKENS": "-5"}, "MLXK_MAX_TOKENS must be a number"),
        ((), {"MLXK_LOG_LEVEL": "loud"}, "loud"),
        (("--max-tokens", "0"), {}, "max"),
        (("--max-loaded", "0"), {}, "max"),
        (("--idle-unload", "nan"), {}, "idle"),
        (("--cors", "foo"), {}, "cors must be an origin"),
        (("--allow-host", "our.name:80"), {}, "allow_host must be the name of a host without a port"),
        (("--model", "org/absent"), {}, "org/absent"),
        (("--model", "/nowhere/at/all"), {}, "/nowhere/at/all"),
    ],
)
def test_invalid_settings_are_refused_before_it_listens(
    machine: Machine, words: tuple[str, ...], variables: dict[str, str], part: str
) -> None:
    outcome = machine.run("serve", "--json", *words, environment=machine.environment(**{"MLXK_PORT": "0"} | variables))
    assert outcome.code in (1, 2)
    assert part in str(outcome.error()["message"])
    assert "Traceback" not in outcome.err


def test_a_port_in_use_is_named(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        outcome = machine.run("serve", "--port", str(port), "--json")
        assert (outcome.code, outcome.error()["type"]) == (1, "ValidationError")
        assert outcome.error()["message"] == f"Port {port} of 127.0.0.1 is in use"
        plain = machine.run("serve", "--port", str(port))
        assert (plain.code, plain.out) == (1, "")
        assert f"Port {port} of 127.0.0.1 is in use" in plain.err


def test_a_request_without_the_key_is_refused(server: Server) -> None:
    body = chat("parrot", answers.GREETING)
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {KEY}"}):
        reply = server.ask("/v1/chat/completions", body, **headers)
        assert (reply.status, reply.error()["code"]) == (401, "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert KEY not in reply.body.decode()
    assert server.ask("/v1/models").status == 401


def test_the_servers_max_tokens_is_the_default_of_a_request(server: Server) -> None:
    key = {"Authorization": f"Bearer {KEY}"}
    for options, length in (({}, 7), ({"max_tokens": 20}, 20)):
        reply = server.ask("/v1/chat/completions", chat("parrot", answers.GREETING, **options), **key)
        assert reply.text() == ANSWERS[answers.GREETING][:length]


def test_a_model_at_a_path_is_served_under_the_name_of_its_folder(server: Server) -> None:
    name = parrot_folder().name
    key = {"Authorization": f"Bearer {KEY}"}
    assert server.envelope["data"]["model"] == str(parrot_folder())
    assert [one["id"] for one in server.ask("/v1/models", **key).document()["data"]] == ["parrot", name]
    assert server.ask(f"/v1/models/{name}", **key).document()["id"] == name
    assert server.ask("/v1/chat/completions", chat(name, answers.GREETING), **key).text()


def test_the_log_is_one_document_for_each_line_and_never_shows_the_key(server: Server) -> None:
    server.ask("/v1/models")
    lines = [json.loads(line) for line in server.lines]
    assert all({"ts", "level", "msg", "logger"} <= set(one) for one in lines)
    assert not any(KEY in line for line in server.lines)


def test_the_log_states_that_a_model_is_loaded_and_unloaded(machine: Machine) -> None:
    parrot_in(machine)
    with serving(machine, "--model", "parrot", "--log-json") as server:
        server.log("parrot is ready (")
        assert server.end() == 0
        lines = [json.loads(line) for line in server.lines]
    about = [one["msg"].partition(" (")[0] for one in lines if one.get("model") == "parrot"]
    assert about == ["loading parrot", "parrot is ready", "parrot was unloaded"]


@pytest.mark.parametrize("is_log_elsewhere", [False, True])
def test_on_a_terminal_the_address_is_shown_once(machine: Machine, *, is_log_elsewhere: bool) -> None:
    """A log that goes elsewhere has the address, too."""
    terminal, its_end = os.openpty()
    with subprocess.Popen(
        [str(BIN / "mlxk"), "serve"],
        env=machine.environment(MLXK_PORT="0"),
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=subprocess.PIPE if is_log_elsewhere else its_end,
    ) as process:
        os.close(its_end)
        try:
            shown = b""
            while b"(Ctrl-C stops it)" not in shown:
                assert select.select([terminal], [], [], PATIENCE)[0], shown
                shown += os.read(terminal, 4096)
            process.terminate()
            assert process.wait(PATIENCE) == 0
            logged = process.stderr.read() if process.stderr is not None else shown
        finally:
            process.kill()
            os.close(terminal)
    assert (b"serves on http://" in logged) == is_log_elsewhere


def test_serving_the_network_without_a_key_logs_a_warning(machine: Machine) -> None:
    with serving(machine, "--host", "0.0.0.0") as server:
        assert "there is no API key" in server.log("WARN")
        assert server.ask("/v1/models").status == 200
        assert server.ask("/v1/models", Host="evil.example").status == 403
