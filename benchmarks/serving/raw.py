"""mlx-lm's bare ``BatchGenerator`` in a process of its own: ``raw.py FOLDER``, an order on each line of stdin.

An order is a JSON document. With ``questions``, and ``tokens`` for each answer, the line that comes back is tokens per
second, from the first prompt to the last token. With ``turns``, two questions of one chat, it is the seconds until the
first token of each; the second goes on from the keys and values of the first. The BLAS is the one that the server's
worker loads, with as many threads.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas, spare_processors


def main() -> None:
    """Load, then measure as often as one is asked to."""
    spare_processors(sys.argv[1])
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
        order = json.loads(line)
        if "turns" in order:
            first, second = order["turns"]
            print(json.dumps(_turns(model, tokenizer, first, second, order["tokens"])), flush=True)
            continue
        prompts = [_cut(tokenizer, [question]) for question in order["questions"]]
        print(_speed(model, prompts, order["tokens"]), flush=True)


def _cut(tokenizer: Any, said: list[str]) -> list[int]:  # noqa: ANN401
    """Return the tokens of a chat in which a user and the model take turns."""
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(said)]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True))


def _speed(model: Any, prompts: list[list[int]], tokens: int) -> float:  # noqa: ANN401 - a module of mlx-lm
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

    generator: Any = BatchGenerator(model, completion_batch_size=32)
    began = time.perf_counter()
    generator.insert(prompts, [tokens] * len(prompts))
    count = 0
    while said := generator.next_generated():
        count += len(said)
    spent = time.perf_counter() - began
    generator.close()
    if count != tokens * len(prompts):
        sys.exit(f"the bare generator said {count} tokens instead of {tokens * len(prompts)}")
    return count / spent


def _turns(model: Any, tokenizer: Any, first: str, second: str, tokens: int) -> list[float]:  # noqa: ANN401
    """Return the seconds until the first token of both turns."""
    from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

    generator: Any = BatchGenerator(model, completion_batch_size=32, prefill_step_size=256)
    prompt = _cut(tokenizer, [first])
    before, said, last = _answered(generator, prompt, tokens)
    answer = tokenizer.decode(said)
    prompt = _cut(tokenizer, [first, answer, second])
    known = _common(last.all_tokens, prompt)
    for layer in last.prompt_cache:
        layer.trim(len(last.all_tokens) - known)
    after, _, _ = _answered(generator, prompt[known:], tokens, caches=[last.prompt_cache], all_tokens=[prompt[:known]])
    generator.close()
    return [before, after]


def _common(one: list[int], other: list[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def _answered(generator: Any, prompt: list[int], tokens: int, **known: Any) -> tuple[float, list[int], Any]:  # noqa: ANN401
    """Return the seconds until the first token of an answer, the tokens, and what is told with the last one."""
    began, first, said = time.perf_counter(), 0.0, list[int]()
    generator.insert([prompt], [tokens], **known)
    last: Any = None
    while len(said) < tokens:
        (last,) = generator.next_generated()
        first = first or time.perf_counter() - began
        said.append(last.token)
    return first, said, last


if __name__ == "__main__":
    main()
