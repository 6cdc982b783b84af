"""``POST /v1/embeddings`` over a fake model whose vectors count words."""

from __future__ import annotations

import base64
import math
import typing
from array import array

import jsonschema
import pytest

from mlxknife.http.apis.openai.bodies import EmbeddingBody
from tests.fakes.embedding_model import FAILING_TOKEN
from tests.fakes.serving import EMBEDDER, NAME
from tests.http.conftest import BODY, Backend, Json

PATH = "/v1/embeddings"
FIELDS = "dimensions encoding_format input model user".split()
TOKENS = [1, 1, 2, 2]
"""Those of the text ``a bb``."""


def embed(backend: Backend, given: object, **more: object) -> Json:
    reply = backend.client.post(PATH, json={"model": EMBEDDER, "input": given, **more})
    assert reply.status_code == 200, reply.text
    document: Json = reply.json()
    return document


def refused(backend: Backend, status: int = 400, **fields: object) -> Json:
    return backend.refused({"model": EMBEDDER, "input": "a", **fields}, status, PATH)


def test_the_document_is_that_of_openai(backend: Backend) -> None:
    document = embed(backend, ["a bb", "a"], user="me", unknown=1)
    assert list(document) == ["object", "data", "model", "usage"]
    assert (document["object"], document["model"]) == ("list", EMBEDDER)
    assert document["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [list(entry) for entry in document["data"]] == [["object", "index", "embedding"]] * 2
    assert [(entry["object"], entry["index"]) for entry in document["data"]] == [("embedding", 0), ("embedding", 1)]
    assert all(math.isclose(math.hypot(*entry["embedding"]), 1, abs_tol=1e-7) for entry in document["data"])


@pytest.mark.parametrize("given", ["a bb", ["a bb"], TOKENS, [TOKENS]])
def test_a_text_is_a_string_or_token_ids(backend: Backend, given: object) -> None:
    document = embed(backend, given)
    assert document["data"] == embed(backend, ["a bb", "x"])["data"][:1]
    assert document["usage"]["prompt_tokens"] == 4


def test_base64_holds_the_same_float32_values(backend: Backend) -> None:
    (entry,) = embed(backend, "a bb", encoding_format="base64")["data"]
    (as_numbers,) = embed(backend, "a bb", encoding_format="float")["data"]
    values = array("f", base64.b64decode(entry["embedding"]))
    assert list(values) == pytest.approx(as_numbers["embedding"], abs=1e-7)


def test_the_order_is_that_of_the_request_whatever_the_batches(backend: Backend) -> None:
    texts = ["a " * (1 + index % 5) for index in range(100)]
    together = embed(backend, texts)["data"]
    assert [entry["index"] for entry in together] == list(range(100))
    alone = [embed(backend, text)["data"][0]["embedding"] for text in texts[:5]]
    assert [entry["embedding"] for entry in together] == alone * 20


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [1, -1]}, "input[1]"),
        ({"input": [["a"]]}, "input[0][0]"),
        ({"input": None}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": ["a a a a a a a a"]}, "input[0]"),
        ({"input": ["a"], "encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"prompt_name": "query"}, "prompt_name"),
        ({"truncate_prompt_tokens": -1}, "truncate_prompt_tokens"),
        ({"input_type": "poem"}, "input_type"),
        ({"truncate": "END"}, "truncate"),
    ],
)
def test_a_wrong_field_is_named(backend: Backend, fields: Json, param: str) -> None:
    assert refused(backend, **fields)["param"] == param


def test_a_long_text_is_refused_unless_it_may_be_cut(backend: Backend) -> None:
    error = refused(backend, input="a " * 50)
    assert error["code"] == "context_length_exceeded"
    assert "maximum context length is 8 tokens" in error["message"]
    assert embed(backend, "a " * 50, truncate=True)["usage"]["prompt_tokens"] == 8


def test_a_request_has_a_limit_of_tokens(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxknife.http.apis.openai.embeddings.MAX_TOKENS", 6)
    assert refused(backend, input=["a bb", "a"])["param"] == "input"
    assert embed(backend, ["a", "a"])["usage"]["prompt_tokens"] == 6
    assert not backend.leases


def test_a_model_that_fails_is_an_error_of_the_server(backend: Backend) -> None:
    assert refused(backend, 500, input="x" * FAILING_TOKEN)["code"] == "server_error"


def test_each_kind_of_model_names_its_own_endpoint(backend: Backend) -> None:
    chat = backend.refused({**BODY, "model": EMBEDDER}, 422)
    assert (chat["code"], chat["param"]) == ("model_not_runnable", "model")
    assert "POST /v1/embeddings" in chat["message"]
    assert "POST /v1/chat/completions" in refused(backend, 422, model=NAME)["message"]
    assert refused(backend, 404, model="org/none")["code"] == "model_not_found"
    assert not backend.pool.loaded()


def test_both_kinds_stay_loaded_and_are_listed(backend: Backend) -> None:
    backend.models.names = (NAME, EMBEDDER)
    backend.chat()
    embed(backend, "a")
    cards = {card["id"]: card for card in backend.client.get("/v1/models").json()["data"]}
    assert {name: (card["kind"], card["loaded"]) for name, card in cards.items()} == {
        NAME: ("text", True),
        EMBEDDER: ("embedding", True),
    }
    assert 'mlxknife_requests_total{route="/v1/embeddings",status="200"} 1.0' in backend.client.get("/metrics").text


def test_every_field_of_openai_is_known() -> None:
    assert set(FIELDS) <= set(EmbeddingBody.__struct_fields__)
    params = pytest.importorskip("openai.types.embedding_create_params", reason="the openai client is not installed")
    assert set(typing.get_type_hints(params.EmbeddingCreateParams)) == set(FIELDS), "new fields of OpenAI"


@pytest.mark.parametrize(
    ("fields", "is_right"),
    [
        ({}, True),
        ({"input": [1, 2], "encoding_format": "base64", "truncate": True, "input_type": "query"}, True),
        ({"input": [[1], [2]]}, True),
        ({"input": []}, False),
        ({"input": [[]]}, False),
        ({"input": ["a", 1]}, False),
        ({"input": ["a"] * 2049}, False),
        ({"encoding_format": "hex"}, False),
        ({"prompt_name": "x"}, False),
    ],
)
def test_the_description_refuses_what_is_refused(backend: Backend, fields: Json, is_right: bool) -> None:  # noqa: FBT001
    document = backend.client.get("/openapi.json").json()
    schemas = {"components": document["components"]}
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/EmbeddingBody", **schemas})
    body = {"model": EMBEDDER, "input": "a", **fields}
    reply = backend.client.post(PATH, json=body)
    assert validator.is_valid(body) is (reply.status_code == 200) is is_right
    if is_right:
        answer = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/EmbeddingList", **schemas})
        answer.validate(reply.json())
