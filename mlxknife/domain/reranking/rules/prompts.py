"""What a reranker reads of a query and a document."""

from __future__ import annotations

from mlxknife.domain.encoders.values import RerankerConfig
from mlxknife.domain.reranking.values import Pair, RerankRequest

_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""The prompt of Qwen3-Reranker, which no file of the model has."""
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def pair(config: RerankerConfig, request: RerankRequest, document: str) -> Pair:
    """Return a query and a document as the model reads them; only decoders are trained with instructions."""
    if config.answers is None:
        return Pair(request.query, document, max_document_tokens=request.max_document_tokens)
    asked = f"<Instruct>: {request.instruction or _INSTRUCTION}\n<Query>: {request.query}\n<Document>: "
    return Pair(asked, document, _BEFORE, _AFTER, request.max_document_tokens)
