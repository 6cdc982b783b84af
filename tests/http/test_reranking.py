"""``POST /v1/rerank`` and ``/v2/rerank`` over a fake model whose scores count the words that a text shares."""

from __future__ import annotations

import jsonschema
import pytest

from mlxknife.domain.reranking.rules.ranking import score
from tests.fakes.serving import EMBEDDER, NAME, RERANKER
from tests.http.conftest import BODY, Backend, Json

PATHS = ("/v1/rerank", "/v2/rerank")
DOCUMENTS = ["c d", "a b", {"text": "a"}]
BOTH: Json = {"model": RERANKER, "query": "a b", "documents": DOCUMENTS}


def rerank(backend: Backend, path: str = PATHS[0], **fields: object) -> Json:
    reply = backend.client.post(path, json={**BOTH, **fields})
    assert reply.status_code == 200, reply.text
    document: Json = reply.json()
    return document


def refused(backend: Backend, status: int = 400, path: str = PATHS[0], **fields: object) -> Json:
    return backend.refused({**BOTH, **fields}, status, path)


@pytest.mark.parametrize("path", PATHS)
def test_the_best_document_comes_first_in_the_form_of_both_apis(backend: Backend, path: str) -> None:
    document = rerank(backend, path, return_documents=False, unknown=1)
    assert list(document) == ["id", "object", "model", "results", "usage", "meta"]
    assert document["results"] == [
        {"index": index, "relevance_score": score(logit)} for index, logit in ((1, 2.0), (2, 1.0), (0, 0.0))
    ]
    assert (document["object"], document["model"]) == ("list", RERANKER)
    assert document["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    assert document["meta"] == {"api_version": {"version": path[2]}, "tokens": {"input_tokens": 14}}


@pytest.mark.parametrize(
    ("path", "fields", "has_documents"),
    [
        (PATHS[0], {}, True),
        (PATHS[1], {}, False),
        (PATHS[0], {"return_documents": False}, False),
        (PATHS[1], {"return_documents": True}, True),
    ],
)
def test_documents_come_back_where_the_api_or_the_client_says_so(
    backend: Backend,
    path: str,
    fields: Json,
    has_documents: bool,  # noqa: FBT001
) -> None:
    results = rerank(backend, path, **fields)["results"]
    assert [result.get("document") for result in results] == (
        [{"text": "a b"}, {"text": "a"}, {"text": "c d"}] if has_documents else [None] * 3
    )


def test_only_the_best_are_returned(backend: Backend) -> None:
    assert [result["index"] for result in rerank(backend, top_n=2)["results"]] == [1, 2]
    assert len(rerank(backend, top_n=99)["results"]) == 3


def test_long_documents_are_cut_and_the_response_says_so(backend: Backend) -> None:
    document = rerank(backend, documents=["c b a", "a"], max_tokens_per_doc=1)
    assert [result["index"] for result in document["results"]] == [1, 0]
    assert document["meta"]["warnings"] == ["1 of 2 documents were cut to what the model reads"]
    assert rerank(backend, documents=["a " * 50])["usage"]["total_tokens"] == 12


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": ["a", 1]}, "documents[1]"),
        ({"documents": [{"title": "a"}]}, "documents[0].text"),
        ({"documents": ["a"] * 1001}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"max_chunks_per_doc": 10}, "max_chunks_per_doc"),
        ({"rank_fields": ["title"]}, "rank_fields"),
        ({"priority": 1}, "priority"),
        ({"truncate_prompt_tokens": 4}, "truncate_prompt_tokens"),
        ({"model": ""}, "model"),
    ],
)
def test_a_wrong_field_is_named(backend: Backend, fields: Json, param: str) -> None:
    error = refused(backend, **fields)
    place = error["param"].replace("[...]", "[0]")
    assert place in (param, param.replace("[1]", "").replace("[0]", ""))


def test_neutral_values_of_unsupported_fields_change_nothing(backend: Backend) -> None:
    neutral: Json = {"max_chunks_per_doc": 1, "rank_fields": ["text"], "priority": 0, "truncate_prompt_tokens": None}
    assert rerank(backend, **neutral)["results"] == rerank(backend)["results"]


def test_a_request_has_a_limit_of_tokens(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxknife.http.apis.openai.reranking._MAX_TOKENS", 13)
    assert refused(backend)["param"] == "documents"
    assert not backend.leases


def test_each_kind_of_model_names_its_own_endpoint(backend: Backend) -> None:
    assert "POST /v1/rerank" in backend.refused({**BODY, "model": RERANKER}, 422)["message"]
    assert "POST /v1/embeddings" in refused(backend, 422, model=EMBEDDER)["message"]
    assert "POST /v1/chat/completions" in refused(backend, 422, path=PATHS[1], model=NAME)["message"]
    assert refused(backend, 404, model="org/none")["code"] == "model_not_found"


def test_a_reranker_is_listed_with_its_kind(backend: Backend) -> None:
    backend.models.names = (RERANKER,)
    assert [card["kind"] for card in backend.client.get("/v1/models").json()["data"]] == ["reranking"]


@pytest.mark.parametrize(
    ("fields", "is_right"),
    [
        ({"top_n": 1, "max_chunks_per_doc": 1, "instruction": "Find it", "max_tokens_per_doc": 3}, True),
        ({"documents": []}, False),
        ({"documents": [{}]}, False),
        ({"priority": 3}, False),
    ],
)
def test_the_description_refuses_what_is_refused(backend: Backend, fields: Json, is_right: bool) -> None:  # noqa: FBT001
    schemas = {"components": backend.client.get("/openapi.json").json()["components"]}
    body = {**BOTH, **fields}
    reply = backend.client.post(PATHS[0], json=body)
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/RerankBody", **schemas})
    assert validator.is_valid(body) is (reply.status_code == 200) is is_right
    if is_right:
        answer = {"$ref": "#/components/schemas/RerankResponse", **schemas}
        jsonschema.Draft202012Validator(answer).validate(reply.json())
