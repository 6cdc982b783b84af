"""Pairs of a query and a document that a reranker may meet, plain and difficult ones."""

from __future__ import annotations

_DOCUMENTS = (
    "Paris is the capital of France.",
    "The capital of Italy is Rome.",
    "Bananas are yellow.",
    "",
    " ",
    "a",
    "caf\u00e9 \U0001f600 \u05e9\u05dc\u05d5\u05dd \u4eca\u5929",
    "before\0after",
    "word " * 40,
    "x" * 2000,
)
PAIRS = tuple(
    (query, document)
    for query in ("What is the capital of France?", "yellow fruit", "q" * 60)
    for document in _DOCUMENTS
)
