"""Logs have the fields of the contract, one line for each record, and no secrets."""

from __future__ import annotations

import json
import logging

import pytest

from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import NotEnoughMemory, WorkerLost
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving.values import (
    LoadingStarted,
    ModelCrashed,
    ModelNotLoaded,
    ModelReady,
    ModelUnloaded,
    PoolEvent,
)
from mlxknife.http.core import logs
from mlxknife.http.core.logs import LineFormatter
from tests.fakes.serving import FakeBackend
from tests.http.servers import chat, request, serving

SECRET = "hf_AbCdEfGhIjKlMnOpQrSt"


def record(message: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("mlxknife", level, __file__, 1, message, None, None)
    vars(made).update(extra)
    return made


def written(made: logging.LogRecord) -> dict[str, object]:
    line = LineFormatter(["my-own-key"], ["/srv/me"], as_json=True).format(made)
    document: dict[str, object] = json.loads(line)
    return document


def test_a_json_line_has_the_fields_of_the_contract() -> None:
    line = written(record("hello", model="m", request_id="r", detail="d", duration_ms=1.5))
    assert isinstance(line.pop("ts"), float)
    assert line == {
        "level": "INFO",
        "msg": "hello",
        "logger": "mlxknife",
        "model": "m",
        "request_id": "r",
        "detail": "d",
        "duration_ms": 1.5,
    }
    assert list(written(record("hello"))) == ["ts", "level", "msg", "logger"]


@pytest.mark.parametrize(
    ("level", "name"), [(logging.WARNING, "WARN"), (logging.CRITICAL, "ERROR"), (logging.DEBUG, "DEBUG")]
)
def test_levels_have_the_names_of_the_contract(level: int, name: str) -> None:
    assert written(record("x", level))["level"] == name


def test_other_loggers_are_called_root() -> None:
    made = record("x")
    made.name = "uvicorn.error"
    assert written(made)["logger"] == "root"


@pytest.mark.parametrize("as_json", [True, False])
def test_no_field_shows_a_secret_or_breaks_a_line(*, as_json: bool) -> None:
    evil = f"a\r\n\x1b[31m\u202e {SECRET} my-own-key /Users/john/x /srv/me/y Bearer abcdef \u2028"
    line = LineFormatter(["my-own-key"], ["/srv/me"], as_json=as_json).format(record(evil, model=evil, detail=evil))
    assert len(line.splitlines()) == 1
    assert not {"\x1b", "\u202e", "\n", "\r"} & set(line)
    for secret in (SECRET, "my-own-key", "john", "/srv/me", "abcdef"):
        assert secret not in line


VALUES = [
    ("/v1/models/org/a-1.b_2:x@y~%é", "/v1/models/org/a-1.b_2:x@y~%é"),  # needs no quotes
    ("/a 200 model=x", '"/a 200 model=x"'),
    ("/a=b", '"/a=b"'),
    ('/a" 200 "', '"/a\\" 200 \\""'),
    ("/a\\", '"/a\\\\"'),
    ("/a\n\x1b/\u202e", '"/a\\n\\x1b/\\u202e"'),
    ("/a\u00a0b\u3000c", '"/a\u00a0b\u3000c"'),
    ("", '""'),
    (f'/{SECRET}/my-own-key" model=/home/john/x', '"/[REDACTED_TOKEN]/[REDACTED_TOKEN]\\" model=~/x"'),
]


@pytest.mark.parametrize(("sent", "shown"), VALUES)
def test_a_value_that_a_client_sends_is_one_word_of_a_text_line(sent: str, shown: str) -> None:
    made = logging.LogRecord("mlxknife.access", logging.INFO, __file__, 1, "%s %s %d", ("GET", sent, 404), None)
    vars(made).update(model=sent, request_id="r-1", detail=sent, duration_ms=1.5)
    line = LineFormatter(["my-own-key"], [], as_json=False).format(made)
    fields = f"model={shown} request_id=r-1 detail={shown} duration_ms=1.5"
    assert line.split(" ", 2)[2] == f"INFO  access GET {shown} 404 {fields}"
    document = json.loads(LineFormatter(["my-own-key"], [], as_json=True).format(made))
    assert document["msg"] == f"GET {shown} 404"


def test_a_secret_is_redacted_before_it_is_escaped() -> None:
    line = LineFormatter(['a"b\\c d'], [], as_json=False).format(record("x", detail='the key a"b\\c d here'))
    assert line.endswith('detail="the key [REDACTED_TOKEN] here"')


def test_a_traceback_stays_in_its_line() -> None:
    made, error = record("x"), ValueError(SECRET)
    made.exc_info = (ValueError, error, None)
    line = written(made)
    assert SECRET not in str(line)
    assert "ValueError" in str(line["detail"])


def _lost() -> WorkerLost:
    error = WorkerLost("It was killed", hint=HintCode.RETRY_STARTS_PROCESS)
    error.add_note("its stderr")
    return error


EVENTS: list[tuple[PoolEvent, str, str, str | None]] = [
    (LoadingStarted("m"), "INFO", "loading m", None),
    (
        LoadingStarted("m", RemoteCode("config.json: model_file", "model.py", is_architecture=True)),
        "WARNING",
        "loading m, whose repo's code runs with the rights of the server: model.py (config.json: model_file)",
        None,
    ),
    (ModelReady("m", 1.26), "INFO", "m is ready (1.3 s)", None),
    (ModelUnloaded("m"), "INFO", "m was unloaded", None),
    (
        ModelCrashed("m", _lost()),
        "WARNING",
        "m crashed",
        "It was killed. The next request starts a new process. its stderr",
    ),
    (ModelNotLoaded("m", NotEnoughMemory("Too large")), "WARNING", "m is not loaded", "Too large"),
]


@pytest.mark.parametrize(("event", "level", "message", "detail"), EVENTS, ids=lambda value: str(value)[:40])
def test_model_events_are_logged_with_the_name_and_crashes_are_counted(
    event: PoolEvent, level: str, message: str, detail: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    state = FakeBackend().app().state.server
    with caplog.at_level(logging.INFO, "mlxknife"):
        state.report(event)
    (made,) = caplog.records
    assert (made.levelname, made.getMessage(), vars(made)["model"]) == (level, message, "m")
    assert vars(made).get("detail") == detail
    is_counted = b'mlxknife_worker_crashes_total{model="m"} 1.0' in state.metrics.page((), 0)
    assert is_counted == isinstance(event, ModelCrashed)


@pytest.mark.parametrize(("is_printed", "level"), [(False, "INFO"), (True, "DEBUG")])
def test_the_address_is_logged_at_debug_where_it_is_printed_already(
    level: str, caplog: pytest.LogCaptureFixture, *, is_printed: bool
) -> None:
    with caplog.at_level(logging.DEBUG, "mlxknife"):
        logs.started("http://here", is_open=True, is_printed=is_printed)
    assert [made.levelname for made in caplog.records] == [level, "WARNING"]


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(
    ("level", "has_access"), [("debug", True), ("info", True), ("warning", False), ("error", False)]
)
def test_requests_are_logged_at_info(level: str, *, has_access: bool) -> None:
    options = {"log_level": level, "log_json": True, "api_key": "my-own-key", "grace_seconds": 0.1}
    with serving(options) as process:
        with_key = chat().replace(b"Host:", b"Authorization: Bearer my-own-key\r\nHost:")
        assert b"200 OK" in process.ask(with_key)
        process.ask(request("GET", f"/v1/{SECRET}/my-own-key%0A/home/john/%1b[1m?my-own-key"))
        process.end()
        lines = [json.loads(line) for line in process.log().splitlines()]
    accesses = [line for line in lines if line["logger"] == "access"]
    assert [line["msg"] for line in accesses] == (
        ["POST /v1/chat/completions 200", 'GET "/v1/[REDACTED_TOKEN]/[REDACTED_TOKEN]\\n~/\\x1b[1m" 401']
        if has_access
        else []
    )
    assert all(line["request_id"] and line["duration_ms"] >= 0 for line in accesses)
    assert "my-own-key" not in str(lines)
