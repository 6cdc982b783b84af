"""mlx-lm's bare ``BatchGenerator`` in a process of its own: ``raw.py FOLDER``, with a JSON job on each line of stdin.

A job with ``questions``, and ``tokens`` for each answer, prints the tokens per second from the first prompt to the last
token. A job with ``turns``, two questions of one chat, prints the seconds to the first token of each; the second turn
reuses the KV cache of the first. The BLAS and its threads are those of our model process.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx.runtime.cpu import limit_threads, load_fast_blas


def main() -> None:
    """Load the model, then measure every job."""
    limit_threads(sys.argv[1])
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.utils import load_model, load_tokenizer  # noqa: PLC0415

    if sys.platform == "linux":
        mx.set_default_device(mx.Device(mx.cpu))
    folder = Path(sys.argv[1])
    model, _ = load_model(folder)
    tokenizer: Any = load_tokenizer(folder)  # type: ignore[no-untyped-call] # mlx-lm's own
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if "turns" in job:
            first, second = job["turns"]
            print(json.dumps(_turns(model, tokenizer, first, second, job["tokens"])), flush=True)
            continue
        prompts = [_tokens(tokenizer, [question]) for question in job["questions"]]
        print(_speed(model, prompts, job["tokens"]), flush=True)


def _tokens(tokenizer: Any, texts: list[str]) -> list[int]:  # noqa: ANN401
    """Return the prompt tokens of a chat with alternating user and assistant texts."""
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True))


def _speed(model: Any, prompts: list[list[int]], tokens: int) -> float:  # noqa: ANN401 - a module of mlx-lm
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - already loaded

    generator: Any = BatchGenerator(model, completion_batch_size=32)
    started = time.perf_counter()
    generator.insert(prompts, [tokens] * len(prompts))
    count = 0
    while responses := generator.next_generated():
        count += len(responses)
    seconds = time.perf_counter() - started
    generator.close()
    if count != tokens * len(prompts):
        sys.exit(f"the bare generator gave {count} tokens instead of {tokens * len(prompts)}")
    return count / seconds


def _turns(model: Any, tokenizer: Any, first: str, second: str, tokens: int) -> list[float]:  # noqa: ANN401
    """Return the seconds to the first token of both turns."""
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - already loaded

    generator: Any = BatchGenerator(model, completion_batch_size=32, prefill_step_size=256)
    prompt = _tokens(tokenizer, [first])
    seconds_first, generated, last = _generated(generator, prompt, tokens)
    answer = tokenizer.decode(generated)
    prompt = _tokens(tokenizer, [first, answer, second])
    reused = _common_prefix(last.all_tokens, prompt)
    for layer in last.prompt_cache:
        layer.trim(len(last.all_tokens) - reused)
    seconds_second, _, _ = _generated(
        generator, prompt[reused:], tokens, caches=[last.prompt_cache], all_tokens=[prompt[:reused]]
    )
    generator.close()
    return [seconds_first, seconds_second]


def _common_prefix(one: list[int], other: list[int]) -> int:
    """Return the length of the common prefix of two sequences."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def _generated(generator: Any, prompt: list[int], tokens: int, **caches: Any) -> tuple[float, list[int], Any]:  # noqa: ANN401
    """Return the seconds to the first token, the tokens, and the last response of the generator."""
    started, first, generated = time.perf_counter(), 0.0, list[int]()
    generator.insert([prompt], [tokens], **caches)
    last: Any = None
    while len(generated) < tokens:
        (last,) = generator.next_generated()
        first = first or time.perf_counter() - started
        generated.append(last.token)
    return first, generated, last


if __name__ == "__main__":
    main()
