"""The endpoints that ask no model."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mlxknife.domain.errors import (
    AmbiguousMatch,
    KnifeError,
    ModelNotFound,
    ModelNotRunnable,
    ValidationError,
    WorkerLost,
)
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.version import __version__
from tests.fakes.serving import NAME
from tests.http.conftest import BODY, TEXT, Json, Stage, error_of


def test_models_are_listed_as_openai_lists_them(stage: Stage) -> None:
    stage.serving.names = (NAME, "starter")
    assert stage.client.get("/v1/models").json() == {
        "object": "list",
        "data": [
            {"id": NAME, "object": "model", "created": 1_700_000_000, "owned_by": "org"},
            {"id": "starter", "object": "model", "created": 1_700_000_000, "owned_by": "local"},
        ],
    }


@pytest.mark.parametrize("path", ["org/model", "org%2Fmodel"])
def test_a_model_is_found_under_a_name_with_slashes(stage: Stage, path: str) -> None:
    assert stage.client.get(f"/v1/models/{path}").json()["id"] == NAME


def test_a_model_that_is_not_there_is_not_found(stage: Stage) -> None:
    reply = stage.client.get("/v1/models/no/such")
    error = error_of(reply.json(), reply.headers["x-request-id"])
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


def test_a_name_that_several_models_answer_to_is_refused_with_their_names(stage: Stage) -> None:
    stage.serving.find_error = AmbiguousMatch("Several models fit", matches=("a/x", "b/x"))
    assert stage.client.get("/v1/models/x").json()["error"]["message"] == "Several models fit (a/x, b/x)"


HINTS: list[tuple[KnifeError, str]] = [
    (ModelNotFound("None", hint=HintCode.LIST_MODELS), "None. GET /v1/models lists what is there"),
    (ModelNotFound("None", hint=Hint(HintCode.PULL_MODEL, name="x")), "None. GET /v1/models lists what is there"),
    (
        ModelNotFound("None", suggestions=("a/x",), hint=Hint(HintCode.DID_YOU_MEAN, name="a/x")),
        "None (a/x). Did you mean a/x?",
    ),
    (ModelNotFound("None", hint=HintCode.NAME_NOT_PATH), "None. Use the name of a model, not a path"),
    (
        ModelNotRunnable("No", hint=Hint(HintCode.PULL_MISSING_FILES, name="a/x")),
        "No. GET /v1/models lists what can run here",
    ),
    (
        ValidationError("Not allowed", hint=HintCode.FOLDER_FORMS, param="model"),
        "Not allowed. GET /v1/models lists the names that can be asked for",
    ),
    (ValidationError("Not so", hint=HintCode.ALLOW_SSH), "Not so"),
    (WorkerLost("It fell", retry_after=1.0, hint=HintCode.VERIFY_FILES), "It fell"),
    (KnifeError("No cache", hint=HintCode.CACHE_SETTINGS), "No cache"),
    (KnifeError("No", hint=Hint(HintCode.OMIT, name="seed")), "No. Leave out seed"),
]


@pytest.mark.parametrize(("error", "said"), HINTS, ids=str)
def test_no_client_is_told_to_use_the_command_line(stage: Stage, error: KnifeError, said: str) -> None:
    stage.serving.find_error = error
    assert stage.client.get("/v1/models/x").json()["error"]["message"] == said


def test_health_and_readiness_tell_what_is_loaded(stage: Stage) -> None:
    resident = {"name": NAME, "state": "ready", "running": 0}
    assert stage.client.get("/health").json()["models"] == [resident]
    assert stage.client.get("/ready").json() == {"status": "ready", "models": [resident]}


def test_a_server_that_stops_is_alive_but_not_ready(stage: Stage) -> None:
    app = stage.client.app
    app.state.front.stop_taking()  # type: ignore[attr-defined] # ours
    assert stage.client.get("/health").status_code == 200
    reply = stage.client.get("/ready")
    assert (reply.status_code, reply.json()["status"]) == (503, "stopping")
    assert stage.refused(BODY, 503)["type"] == "server_stopping"


def test_numbers_are_told_as_prometheus_reads_them(stage: Stage) -> None:
    stage.chat()
    stage.refused({})
    page = stage.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'mlxknife_requests_total{route="/v1/chat/completions",status="200"} 1.0',
        'mlxknife_requests_total{route="/v1/chat/completions",status="400"} 1.0',
        'mlxknife_tokens_total{kind="prompt"} 5.0',
        'mlxknife_tokens_total{kind="completion"} 3.0',
        'mlxknife_tokens_total{kind="cached"} 2.0',
        "mlxknife_first_token_seconds_count 1.0",
        'mlxknife_models_loaded{state="ready"} 1.0',
        "mlxknife_requests_in_flight 0.0",
    ):
        assert line in page.text


def test_strange_paths_make_no_new_numbers(stage: Stage) -> None:
    for path in ("/a", "/b", "/v1/models/x/y", "/v1/models/z"):
        stage.client.get(path)
    routes = {line for line in stage.client.get("/metrics").text.splitlines() if line.startswith("mlxknife_requests_t")}
    assert {line.partition('"')[2].partition('"')[0] for line in routes} == {"other", "/v1/models"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PUT", "/v1/models", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_the_one_to_use(stage: Stage, method: str, path: str, allowed: set[str]) -> None:
    reply = stage.client.request(method, path)
    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) == allowed
    assert error_of(reply.json(), reply.headers["x-request-id"])["type"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_bare_address_says_what_this_is_and_where_to_go_on(stage: Stage, path: str) -> None:
    document = stage.client.get(path).json()
    assert (document["name"], document["version"], document["api"]) == ("MLX Knife", __version__, "/v1")
    for name in ("models", "openapi"):
        assert stage.client.get(document[name]).status_code == 200
    mounted = TestClient(Starlette(routes=[Mount("/llm", stage.app())]), base_url="http://localhost")
    below = mounted.get(f"/llm{path}").json()
    assert below == {**document, "api": "/llm/v1", "models": "/llm/v1/models", "openapi": "/llm/openapi.json"}
    assert mounted.get(below["models"]).status_code == 200


@pytest.mark.parametrize("path", ["/v2", "/v1/models/", "/v1/embeddings", "/health/", "//health", "/docs"])
def test_where_nothing_is_nothing_is_found(stage: Stage, path: str) -> None:
    reply = stage.client.get(f"http://localhost{path}")
    assert reply.status_code == 404
    error_of(reply.json(), reply.headers["x-request-id"])


def described(stage: Stage) -> Json:
    document: Json = stage.client.get("/openapi.json").json()
    return document


def validator(stage: Stage, name: str) -> jsonschema.Draft202012Validator:
    document = described(stage)
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )


def test_the_description_names_every_route_and_only_what_it_defines(stage: Stage) -> None:
    document = described(stage)
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/",
        "/v1",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/models/{id}",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
    }
    defined = set(document["components"]["schemas"])
    assert set(references(document)) <= {f"#/components/schemas/{name}" for name in defined}
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def references(value: Any) -> list[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


def test_what_no_schema_can_say_of_several_prompts_is_said_in_words(stage: Stage) -> None:
    fields = described(stage)["components"]["schemas"]["TextBody"]["properties"]
    for name in ("n", "prompt"):
        assert fields[name]["description"].endswith("n times the number of prompts is at most 64")
    for n, prompts, status in [(16, 4, 200), (16, 5, 400), (1, 64, 200), (2, 33, 400)]:
        body = {"model": NAME, "prompt": ["a"] * prompts, "n": n}
        assert stage.client.post("/v1/completions", json=body).status_code == status


def test_answers_are_as_described(stage: Stage) -> None:
    for name, document in (
        ("ChatCompletion", stage.chat(n=2, logprobs=True)),
        (
            "TextCompletion",
            stage.client.post("/v1/completions", json={"model": NAME, "prompt": "x", "logprobs": 1}).json(),
        ),
        ("ModelList", stage.client.get("/v1/models").json()),
        ("ModelCard", stage.client.get("/v1/models/org/model").json()),
        ("Health", stage.client.get("/health").json()),
        ("Readiness", stage.client.get("/ready").json()),
        ("Welcome", stage.client.get("/").json()),
        ("ErrorDocument", stage.client.get("/nothing").json()),
    ):
        validator(stage, name).validate(document)


def turns(**turn: object) -> Json:
    return {"messages": [{"role": "user", **turn}]}


TRIED: list[tuple[Json, bool]] = [
    ({}, True),
    ({"tools": []}, True),
    ({"tools": [{}]}, False),
    ({"n": 0}, False),
    ({"x": 1}, True),
    (turns(), False),
    (turns(content=None), False),
    (turns(content=None, role="assistant"), True),
    (turns(role="assistant"), True),
    (turns(content=[{"type": "text", "text": "x"}]), True),
    (turns(content=[{"type": "text"}]), False),
    (turns(content=[{"type": "poem", "text": "x"}]), False),
    (turns(content="x", tool_calls=[{}]), False),
    (turns(content="x", tool_calls=[]), True),
    ({"stream_options": {}}, False),
    ({"stream_options": None}, True),
    ({"stream_options": {}, "stream": True}, True),
    ({"stream_options": {"include_obfuscation": True}, "stream": True}, False),
    ({"top_logprobs": 2}, False),
    ({"top_logprobs": 0}, True),
    ({"top_logprobs": 2, "logprobs": True}, True),
    ({"logit_bias": {"x": 1}}, False),
    ({"logit_bias": {"17": 1}}, True),
]
TRIED_TEXTS: list[tuple[Json, bool]] = [
    ({}, True),
    ({"prompt": ""}, False),
    ({"prompt": []}, False),
    ({"prompt": ["a", "b"]}, True),
    ({"prompt": ["a", 1]}, False),
    ({"prompt": ["a", ""]}, False),
    ({"prompt": [1, 2]}, True),
    ({"prompt": [[1], [2]]}, True),
    ({"prompt": [[1], []]}, False),
    ({"prompt": [-1]}, False),
    ({"echo": True}, True),
    ({"echo": True, "logprobs": 1}, False),
    ({"echo": False, "logprobs": 1}, True),
]


@pytest.mark.parametrize(
    ("name", "path", "right", "tried"),
    [("ChatBody", "/v1/chat/completions", BODY, TRIED), ("TextBody", "/v1/completions", TEXT, TRIED_TEXTS)],
)
def test_what_the_description_refuses_is_refused_and_what_it_allows_is_taken(
    stage: Stage, name: str, path: str, right: Json, tried: list[tuple[Json, bool]]
) -> None:
    bodies = validator(stage, name)
    for more, is_right in tried:
        body = {**right, **more}
        assert bodies.is_valid(body) == is_right, more
        assert (stage.client.post(path, json=body).status_code == 200) == is_right, more
