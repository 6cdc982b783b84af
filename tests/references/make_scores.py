"""Makes ``scores.json``: the logits that transformers computes on the CPU for tiny rerankers.

It is run once by hand, in an environment of its own, and never by the tests::

    python -m venv /tmp/reference
    /tmp/reference/bin/pip install transformers torch
    /tmp/reference/bin/python -m tests.references.make_scores
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.references.pairs import PAIRS
from tests.rerankers import EXTRA, FAMILIES, POSITIONS, write_reranker

_PLACE = Path(__file__).parent / "scores.json"
_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_TASK = "Given a web search query, retrieve relevant passages that answer the query"


def main() -> None:
    """Compute and save the logits."""
    with tempfile.TemporaryDirectory() as folder:
        found = {family: _logits(write_reranker(Path(folder) / family, family), family) for family in FAMILIES}
        for name, config in EXTRA.items():
            family = name.partition("-")[0]
            found[name] = _logits(write_reranker(Path(folder) / name, family, config=config), family)
    _PLACE.write_text(json.dumps({name: [round(one, 6) for one in logits] for name, logits in found.items()}) + "\n")


def _logits(folder: Path, family: str) -> list[float]:
    import torch  # noqa: PLC0415 - only here
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    is_decoder = family == "qwen3"
    kind: Any = AutoModelForCausalLM if is_decoder else AutoModelForSequenceClassification
    score = _yes_minus_no if is_decoder else _classified
    model = kind.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [score(model, tokenizer, query, document) for query, document in PAIRS]


def _classified(model: Any, tokenizer: Any, query: str, document: str) -> float:  # noqa: ANN401 - torch is not here
    inputs = tokenizer([query], [document], truncation=True, max_length=POSITIONS, return_tensors="pt")
    if model.config.model_type != "bert":
        inputs.pop("token_type_ids", None)
    return float(model(**inputs).logits[0, 0])


def _yes_minus_no(model: Any, tokenizer: Any, query: str, document: str) -> float:  # noqa: ANN401
    import torch  # noqa: PLC0415

    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in (_BEFORE, _AFTER))
    text = f"<Instruct>: {_TASK}\n<Query>: {query}\n<Document>: {document}"
    tokens = tokenizer.encode(text, add_special_tokens=False)[: POSITIONS - len(before) - len(after)]
    logits = model(torch.tensor([[*before, *tokens, *after]])).logits[0, -1]
    yes, no = (tokenizer.convert_tokens_to_ids(answer) for answer in ("yes", "no"))
    return float(logits[yes] - logits[no])


if __name__ == "__main__":
    main()
