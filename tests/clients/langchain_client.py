"""LangChain's client of OpenAI against a server: ``langchain_client.py URL MODEL KEY``. It prints one JSON document."""

from __future__ import annotations

import json
import sys

import openai  # type: ignore[import-not-found, unused-ignore]
from langchain_openai import ChatOpenAI, OpenAI  # type: ignore[import-not-found, unused-ignore]

CAPITAL = "What is the capital of France?"


def main() -> None:
    url, model, key = sys.argv[1:4]
    chat = ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model, max_retries=0)
    whole = chat.invoke([("system", "You are a parrot."), ("human", CAPITAL)])
    parts = list(chat.stream(CAPITAL, stream_usage=True))
    several = chat.batch([CAPITAL, "Hello!"])
    text = OpenAI(base_url=f"{url}/v1", api_key=key, model=model, max_retries=0, max_tokens=60, temperature=0)
    try:
        chat.invoke(CAPITAL, stop=[""])
        refusal = ""
    except openai.BadRequestError as exc:
        refusal = exc.param or ""
    found = {
        "content": whole.content,
        "usage": (whole.usage_metadata or {}).get("total_tokens"),
        "finish": whole.response_metadata["finish_reason"],
        "heard": "".join(str(part.content) for part in parts),
        "streamed_usage": max((part.usage_metadata or {}).get("total_tokens", 0) for part in parts),
        "several": [one.content for one in several],
        "text": text.invoke(f"<|im_start|>user\n{CAPITAL}<|im_end|>\n<|im_start|>assistant\n"),
        "refusal": refusal,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
