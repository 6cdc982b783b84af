"""Clients that embed and rank documents: openai, LangChain with its standard tests, LiteLLM, and Cohere's client."""

from __future__ import annotations

import math
import os
from typing import Any

import cohere
import litellm
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

ROOT, KEY = os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"]
EMBEDDER, RERANKER = os.environ["CLIENT_EMBEDDER"], os.environ["CLIENT_RERANKER"]
WHERE: Any = {"base_url": f"{ROOT}/v1", "api_key": KEY, "max_retries": 0}
TEXTS = ["a b c", "hello", "a b c"]
QUERY, DOCUMENTS = "What is yellow?", ["Paris is in France.", "Bananas are yellow.", "caf\u00e9"]


def test_openai_reads_both_encodings() -> None:
    client = openai.OpenAI(**WHERE)
    by_default = client.embeddings.create(model=EMBEDDER, input=TEXTS)  # it asks for base64, and decodes it
    as_floats = client.embeddings.create(model=EMBEDDER, input=TEXTS, encoding_format="float")
    assert [one.index for one in by_default.data] == [0, 1, 2]
    for one, other in zip(by_default.data, as_floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.isclose(math.hypot(*one.embedding), 1, abs_tol=1e-5)
    assert by_default.data[0].embedding == pytest.approx(by_default.data[2].embedding, abs=1e-5)
    assert by_default.usage.prompt_tokens == by_default.usage.total_tokens > 0


def test_openai_sends_extra_fields_and_reads_errors() -> None:
    client = openai.OpenAI(**WHERE)
    document, query = (
        client.embeddings.create(model=EMBEDDER, input="a", extra_body={"input_type": kind}).data[0].embedding
        for kind in ("document", "query")
    )
    assert document != query
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=EMBEDDER, input="a " * 5000)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input[0]")
    assert client.embeddings.create(model=EMBEDDER, input="a " * 5000, extra_body={"truncate": True}).data


async def test_openai_embeds_asynchronously() -> None:
    async with openai.AsyncOpenAI(**WHERE) as client:
        found = await client.embeddings.create(model=EMBEDDER, input=[[2, 5, 3], [2, 6, 3]])
    assert len(found.data) == 2


class TestStandardEmbeddings(EmbeddingsIntegrationTests):
    """LangChain's own tests of embeddings."""

    @property
    def embeddings_class(self) -> Any:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": EMBEDDER, "check_embedding_ctx_length": False, **WHERE}


def test_langchain_embeds_documents_and_queries() -> None:
    model = OpenAIEmbeddings(model=EMBEDDER, check_embedding_ctx_length=False, **WHERE)
    documents = model.embed_documents(TEXTS)
    assert documents[0] == pytest.approx(documents[2], abs=1e-5)
    assert len(model.embed_query(TEXTS[0])) == len(documents[0])


def test_litellm_embeds() -> None:
    found = litellm.embedding(model=f"openai/{EMBEDDER}", input=TEXTS, api_base=f"{ROOT}/v1", api_key=KEY)
    assert len(found.data) == len(TEXTS)
    assert found.usage.prompt_tokens > 0


@pytest.mark.parametrize("provider", ["cohere", "jina_ai"])
def test_litellm_ranks_documents(provider: str) -> None:
    found = litellm.rerank(
        model=f"{provider}/{RERANKER}",
        query=QUERY,
        documents=DOCUMENTS,
        top_n=2,
        api_base=ROOT if provider == "cohere" else f"{ROOT}/v1/rerank",
        api_key=KEY,
    )
    scores = [result["relevance_score"] for result in found.results or []]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)


def test_cohere_ranks_documents_with_both_versions() -> None:
    new = cohere.ClientV2(api_key=KEY, base_url=ROOT).rerank(model=RERANKER, query=QUERY, documents=DOCUMENTS, top_n=2)
    old = cohere.Client(api_key=KEY, base_url=ROOT).rerank(
        model=RERANKER, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True
    )
    assert [(one.index, one.relevance_score) for one in new.results] == [
        (one.index, one.relevance_score) for one in old.results
    ]
    assert [one.document.text for one in old.results] == [DOCUMENTS[one.index] for one in new.results]


def test_cohere_reads_errors() -> None:
    client = cohere.ClientV2(api_key=KEY, base_url=ROOT)
    with pytest.raises(cohere.BadRequestError) as refused:
        client.rerank(model=RERANKER, query=QUERY, documents=[])
    assert refused.value.body["error"]["param"] == "documents"
    with pytest.raises(cohere.NotFoundError):
        client.rerank(model="no/such", query=QUERY, documents=DOCUMENTS)
