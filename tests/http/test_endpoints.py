"""The endpoints that use no model, and the OpenAPI description."""

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
from tests.fakes.serving import NAME, servable
from tests.http.conftest import BODY, TEXT, Backend, Json, error_of


def test_models_are_listed_as_openai_lists_them(backend: Backend) -> None:
    backend.models.names = (NAME, "starter")
    backend.chat()
    both = {"object": "model", "created": 1_700_000_000, "permission": [], "kind": "text", "context_length": 4096}
    cards = [
        {"id": NAME, "owned_by": "org", "loaded": True, **both},
        {"id": "starter", "owned_by": "local", "loaded": False, **both},
    ]
    assert backend.client.get("/v1/models").json() == {"object": "list", "data": cards}
    assert [backend.client.get(f"/v1/models/{card['id']}").json() for card in cards] == cards


@pytest.mark.parametrize("path", ["org/model", "org%2Fmodel"])
def test_a_model_is_found_under_a_name_with_slashes(backend: Backend, path: str) -> None:
    assert backend.client.get(f"/v1/models/{path}").json()["id"] == NAME


def test_an_unknown_model_is_not_found(backend: Backend) -> None:
    reply = backend.client.get("/v1/models/no/such")
    error = error_of(reply.json(), reply.headers["x-request-id"])
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


def test_an_ambiguous_name_is_refused_with_the_matching_names(backend: Backend) -> None:
    backend.models.find_error = AmbiguousMatch("Several models fit", matches=("a/x", "b/x"))
    assert backend.client.get("/v1/models/x").json()["error"]["message"] == "Several models fit (a/x, b/x)"


HINTS: list[tuple[KnifeError, str]] = [
    (ModelNotFound("None", hint=HintCode.LIST_MODELS), "None. GET /v1/models lists the models that are here"),
    (
        ModelNotFound("None", hint=Hint(HintCode.PULL_MODEL, name="x")),
        "None. GET /v1/models lists the models that are here",
    ),
    (
        ModelNotFound("None", suggestions=("a/x",), hint=Hint(HintCode.DID_YOU_MEAN, name="a/x")),
        "None. Did you mean a/x?",
    ),
    (ModelNotFound("None", hint=HintCode.NAME_NOT_PATH), "None. Use the name of a model, not a path"),
    (
        ModelNotRunnable("No", hint=Hint(HintCode.PULL_MISSING_FILES, name="a/x")),
        "No. GET /v1/models lists the models that can run here",
    ),
    (
        ValidationError("Not allowed", hint=HintCode.FOLDER_FORMS, param="model"),
        "Not allowed. GET /v1/models lists the names that a request may use",
    ),
    (ValidationError("Not so", hint=HintCode.ALLOW_SSH), "Not so"),
    (WorkerLost("It crashed", retry_after=1.0, hint=HintCode.VERIFY_FILES), "It crashed"),
    (KnifeError("No cache", hint=HintCode.CACHE_SETTINGS), "No cache"),
    (KnifeError("No", hint=Hint(HintCode.OMIT, name="seed")), "No. Leave out seed"),
]


@pytest.mark.parametrize(("error", "message"), HINTS, ids=str)
def test_no_hint_for_a_client_names_the_command_line(backend: Backend, error: KnifeError, message: str) -> None:
    backend.models.find_error = error
    assert backend.client.get("/v1/models/x").json()["error"]["message"] == message


def test_health_and_readiness_list_the_loaded_models(backend: Backend) -> None:
    health = backend.client.get("/health").json()
    assert health == {"status": "ok", "service": "mlx-knife-server", "version": __version__, "models": []}
    assert backend.client.get("/ready").json() == {"status": "ready", "models": []}
    backend.chat()
    model = {"name": NAME, "state": "ready", "running": 0}
    assert backend.client.get("/health").json()["models"] == [model]
    assert backend.client.get("/ready").json() == {"status": "ready", "models": [model]}


def test_a_server_whose_only_model_is_loading_is_not_ready(backend: Backend) -> None:
    backend.processes.load_seconds = 3600.0
    portal = backend.client.portal
    assert portal is not None
    portal.call(backend.pool.keep, servable(NAME))
    reply = backend.client.get("/ready")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    model = {"name": NAME, "state": "loading", "running": 0}
    assert reply.json() == {"status": "loading", "models": [model]}


def test_a_stopping_server_is_alive_but_not_ready(backend: Backend) -> None:
    app = backend.client.app
    app.state.server.stop_admitting()  # type: ignore[attr-defined] # ours
    assert backend.client.get("/health").status_code == 200
    reply = backend.client.get("/ready")
    assert (reply.status_code, reply.json()["status"]) == (503, "stopping")
    assert backend.refused(BODY, 503)["type"] == "server_stopping"


def test_metrics_have_the_format_of_prometheus(backend: Backend) -> None:
    backend.chat()
    backend.refused({})
    page = backend.client.get("/metrics")
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


def test_unknown_paths_make_no_new_labels_in_metrics(backend: Backend) -> None:
    for path in ("/a", "/b", "/v1/models/x/y", "/v1/models/z"):
        backend.client.get(path)
    routes = {
        line for line in backend.client.get("/metrics").text.splitlines() if line.startswith("mlxknife_requests_t")
    }
    assert {line.partition('"')[2].partition('"')[0] for line in routes} == {"other", "/v1/models"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PUT", "/v1/models", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_an_allow_header(
    backend: Backend, method: str, path: str, allowed: set[str]
) -> None:
    reply = backend.client.request(method, path)
    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) == allowed
    assert error_of(reply.json(), reply.headers["x-request-id"])["type"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_root_describes_the_server_and_links_to_its_api(backend: Backend, path: str) -> None:
    document = backend.client.get(path).json()
    assert (document["name"], document["version"], document["api"]) == ("MLX Knife", __version__, "/v1")
    for name in ("models", "openapi"):
        assert backend.client.get(document[name]).status_code == 200
    mounted = TestClient(Starlette(routes=[Mount("/llm", backend.app())]), base_url="http://localhost")
    below = mounted.get(f"/llm{path}").json()
    assert below == {**document, "api": "/llm/v1", "models": "/llm/v1/models", "openapi": "/llm/openapi.json"}
    assert mounted.get(below["models"]).status_code == 200


@pytest.mark.parametrize("path", ["/v3", "/v1/models/", "/v1/embedding", "/health/", "//health", "/docs"])
def test_an_unknown_path_is_not_found(backend: Backend, path: str) -> None:
    reply = backend.client.get(f"http://localhost{path}")
    assert reply.status_code == 404
    error_of(reply.json(), reply.headers["x-request-id"])


def described(backend: Backend) -> Json:
    document: Json = backend.client.get("/openapi.json").json()
    return document


def validator(backend: Backend, name: str) -> jsonschema.Draft202012Validator:
    document = described(backend)
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )


def test_the_description_has_every_route_and_defines_what_it_references(backend: Backend) -> None:
    document = described(backend)
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/",
        "/v1",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/rerank",
        "/v2/rerank",
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


def test_the_limit_of_n_times_prompts_is_described_and_enforced(backend: Backend) -> None:
    fields = described(backend)["components"]["schemas"]["CompletionBody"]["properties"]
    for name in ("n", "prompt"):
        assert fields[name]["description"].endswith("n times the number of prompts is at most 64")
    for n, prompts, status in [(16, 4, 200), (16, 5, 400), (1, 64, 200), (2, 33, 400)]:
        body = {"model": NAME, "prompt": ["a"] * prompts, "n": n}
        assert backend.client.post("/v1/completions", json=body).status_code == status


def test_responses_match_their_description(backend: Backend) -> None:
    for name, document in (
        ("ChatCompletion", backend.chat(n=2, logprobs=True)),
        (
            "Completion",
            backend.client.post("/v1/completions", json={"model": NAME, "prompt": "x", "logprobs": 1}).json(),
        ),
        ("ModelList", backend.client.get("/v1/models").json()),
        ("ModelCard", backend.client.get("/v1/models/org/model").json()),
        ("HealthDocument", backend.client.get("/health").json()),
        ("ReadinessDocument", backend.client.get("/ready").json()),
        ("Welcome", backend.client.get("/").json()),
        ("ErrorDocument", backend.client.get("/nothing").json()),
    ):
        validator(backend, name).validate(document)


def turns(**turn: object) -> Json:
    return {"messages": [{"role": "user", **turn}]}


CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL: Json = {"type": "function", "function": {"name": "f", "description": "adds", "parameters": {"type": "object"}}}
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORM_CASES: list[tuple[Json, bool]] = [
    ({"response_format": {"type": "text"}}, True),
    ({"response_format": {"type": "json_object"}}, True),
    ({"response_format": {"type": "json_object", "json_schema": {"schema": {}}}}, False),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}, True),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, False),
    ({"response_format": {"type": "json_schema"}}, False),
    ({"response_format": {"type": "yaml"}}, False),
    ({"response_format": {}}, False),
    ({"structured_outputs": {"json": SCHEMA}}, True),
    ({"structured_outputs": {"regex": "a+"}}, True),
    ({"structured_outputs": {"choice": ["a", "b"], "json_object": False}}, True),
    ({"structured_outputs": {"choice": []}}, False),
    ({"structured_outputs": {"grammar": 'start: "a"', "disable_any_whitespace": True}}, True),
    ({"structured_outputs": {"json_object": True}}, True),
    ({"structured_outputs": {"json_object": False}}, False),
    ({"structured_outputs": {}}, False),
    ({"structured_outputs": {"regex": "a", "json_object": True}}, False),
    ({"structured_outputs": {"regex": "a", "whitespace_pattern": " "}}, False),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}}, True),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, False),
]
CHAT_CASES: list[tuple[Json, bool]] = [
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
    ({"logit_bias": {"1": 101}}, False),
    ({"logit_bias": {"1": True}}, False),
    (turns(content="x", tool_calls=[]), True),
    (turns(content="x", tool_calls=[CALL]), False),
    (turns(content=None, role="assistant", tool_calls=[CALL]), True),
    (turns(content=None, role="assistant", tool_calls=[CALL, {**CALL, "type": "custom"}]), False),
    (turns(content=None, role="assistant", function_call=CALL["function"]), True),
    (turns(content=None, role="assistant", function_call=CALL["function"], tool_calls=[CALL]), False),
    (turns(content="4", role="tool", tool_call_id="call_1"), True),
    (turns(content="4", role="tool"), False),
    (turns(content=None, role="tool", tool_call_id="call_1"), False),
    (turns(content="4", role="function", name="f"), True),
    (turns(content="4", role="function"), False),
    ({"tools": [TOOL]}, True),
    ({"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}, True),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, True),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, False),
    ({"tools": [TOOL], "tool_choice": "f"}, False),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, False),
    ({"tools": [TOOL] * 129}, False),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, False),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, False),
    ({"functions": [TOOL["function"]]}, True),
    ({"functions": [TOOL["function"]], "function_call": {"name": "f"}}, True),
    ({"functions": [TOOL["function"]], "tools": [TOOL]}, False),
    ({"functions": [TOOL["function"]], "tool_choice": "auto"}, False),
    ({"function_call": "none", "tools": [TOOL]}, False),
    *FORM_CASES,
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
COMPLETION_CASES: list[tuple[Json, bool]] = [
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
    *FORM_CASES,
]


@pytest.mark.parametrize(
    ("name", "path", "valid", "cases"),
    [
        ("ChatCompletionBody", "/v1/chat/completions", BODY, CHAT_CASES),
        ("CompletionBody", "/v1/completions", TEXT, COMPLETION_CASES),
    ],
)
def test_what_the_description_refuses_is_refused_and_what_it_allows_is_accepted(
    backend: Backend, name: str, path: str, valid: Json, cases: list[tuple[Json, bool]]
) -> None:
    bodies = validator(backend, name)
    for more, is_right in cases:
        body = {**valid, **more}
        assert bodies.is_valid(body) == is_right, more
        assert (backend.client.post(path, json=body).status_code == 200) == is_right, more
