"""OpenAI's own client against a server: ``openai_client.py URL MODEL KEY``. It prints one JSON document."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import openai  # type: ignore[import-not-found, unused-ignore]

CAPITAL = "What is the capital of France?"
REASONING = "What is 17 + 25?"
LONG = "Tell me a long story."


def turn(text: str) -> Any:  # noqa: ANN401 - a list that the client has a type for
    return [{"role": "user", "content": text}]


def failure(call: Callable[[], object]) -> dict[str, Any]:
    """Return what a client learns of an error."""
    try:
        call()
    except openai.APIStatusError as exc:
        found = {"class": type(exc).__name__, "status": exc.status_code, "param": exc.param, "code": exc.code}
        return found | {"type": exc.type, "has_id": bool(exc.request_id), "message": str(exc)}
    return {"class": None}


def chats(client: openai.OpenAI, model: str) -> dict[str, Any]:
    chat = client.chat.completions
    whole = chat.create(model=model, messages=turn(REASONING), logprobs=True, top_logprobs=2, seed=1, n=2)
    heard, thought, usage = "", "", None
    with chat.create(
        model=model, messages=turn(REASONING), stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                heard += choice.delta.content or ""
                thought += getattr(choice.delta, "reasoning_content", None) or ""
    with chat.create(model=model, messages=turn(LONG), stream=True) as broken_off:
        next(iter(broken_off))
    message = whole.choices[0].message
    likelihoods = whole.choices[0].logprobs
    assert likelihoods is not None
    assert likelihoods.content is not None
    assert usage is not None
    return {
        "content": message.content,
        "reasoning": getattr(message, "reasoning_content", None),
        "finish": [choice.finish_reason for choice in whole.choices],
        "tops": sorted({len(one.top_logprobs) for one in likelihoods.content}),
        "usage": whole.usage is not None and whole.usage.total_tokens,
        "heard": heard,
        "thought": thought,
        "streamed_usage": usage.total_tokens,
    }


def helpers(client: openai.OpenAI, model: str) -> dict[str, Any]:
    """Use what the client builds on top: its accumulating stream, and the asynchronous one."""
    with client.chat.completions.stream(model=model, messages=turn(CAPITAL)) as stream:
        kinds = sorted({event.type for event in stream})
        final = stream.get_final_completion()

    async def aside() -> str:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key=client.api_key) as other:
            parts = await other.chat.completions.create(model=model, messages=turn(CAPITAL), stream=True)
            return "".join([part.choices[0].delta.content or "" async for part in parts])

    return {"kinds": kinds, "final": final.choices[0].message.content, "aside": asyncio.run(aside())}


def texts(client: openai.OpenAI, model: str) -> dict[str, Any]:
    prompt = f"<|im_start|>user\n{CAPITAL}<|im_end|>\n<|im_start|>assistant\n"
    whole = client.completions.create(model=model, prompt=prompt, max_tokens=50, logprobs=1)
    parts = client.completions.create(model=model, prompt=[prompt, prompt], max_tokens=50, stream=True, echo=True)
    heard = ["", ""]
    for part in parts:
        for choice in part.choices:
            heard[choice.index] += choice.text
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    return {"text": whole.choices[0].text, "tokens": "".join(logprobs.tokens or ()), "heard": heard, "prompt": prompt}


def refusals(client: openai.OpenAI, model: str) -> dict[str, Any]:
    chat, asked = client.chat.completions, turn(CAPITAL)
    tools: Any = [{"type": "custom", "custom": {"name": "f"}}]
    wrong: Any = 5
    stranger = openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0)
    return {
        "model": failure(lambda: chat.create(model="org/absent", messages=asked)),
        "tools": failure(lambda: chat.create(model=model, messages=asked, tools=tools)),
        "stop": failure(lambda: chat.create(model=model, messages=asked, stop=wrong)),
        "long": failure(lambda: chat.create(model=model, messages=turn("long " * 3000))),
        "key": failure(stranger.models.list),
        "suffix": failure(lambda: client.completions.create(model=model, prompt="a", suffix="b")),
        "embeddings": failure(lambda: client.embeddings.create(model=model, input="a")),
        "retrieve": failure(lambda: client.models.retrieve("org/absent")),
    }


def main() -> None:
    url, model, key = sys.argv[1:4]
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    raw = client.chat.completions.with_raw_response.create(model=model, messages=turn(CAPITAL))
    found = {
        "models": [one.id for one in client.models.list()],
        "retrieved": client.models.retrieve(model).model_dump(),
        "raw": {"id": raw.headers.get("x-request-id"), "text": raw.parse().choices[0].message.content},
        "chats": chats(client, model),
        "helpers": helpers(client, model),
        "texts": texts(client, model),
        "refusals": refusals(client, model),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
