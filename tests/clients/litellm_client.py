"""LiteLLM against a server: ``litellm_client.py URL MODEL KEY``. It prints one JSON document."""

from __future__ import annotations

import json
import sys
from typing import Any

import litellm  # type: ignore[import-not-found, unused-ignore]

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
REASONING = [{"role": "user", "content": "What is 17 + 25?"}]


def main() -> None:
    url, model, key = sys.argv[1:4]
    there: dict[str, Any] = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": key, "num_retries": 0}
    whole = litellm.completion(messages=CAPITAL, **there)
    thinking = litellm.completion(messages=REASONING, **there)
    parts = list(litellm.completion(messages=REASONING, stream=True, stream_options={"include_usage": True}, **there))
    deltas = [part.choices[0].delta for part in parts if part.choices]
    prompt = "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"
    text = litellm.text_completion(prompt=prompt, max_tokens=60, **there)
    refusals = {}
    wrong: dict[str, dict[str, Any]] = {"stop": {"stop": [""]}, "model": {"model": "openai/org/absent"}}
    for name, wishes in wrong.items():
        try:
            litellm.completion(**{**there, "messages": CAPITAL, **wishes})
        except (litellm.exceptions.BadRequestError, litellm.exceptions.NotFoundError) as exc:
            refusals[name] = [type(exc).__name__, exc.status_code]
    found = {
        "content": whole.choices[0].message.content,
        "usage": whole.usage.total_tokens,
        "thought": thinking.choices[0].message.reasoning_content,
        "answer": thinking.choices[0].message.content,
        "heard": "".join(delta.content or "" for delta in deltas),
        "heard_thought": "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas),
        "text": text.choices[0].text,
        "refusals": refusals,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
