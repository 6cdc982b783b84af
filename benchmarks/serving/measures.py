"""The measurements of one server in one round: throughput, first tokens, gaps, second turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from serving import model as tiny
from serving import starter
from serving.servers import CHAT, Server

SIZES = (1, 8, 32)
TOKENS = 256
PROMPT = 24
LONG = 4096
CHAT_PROMPT = 2048
FEW = 8
_SHORTS = 4
_ENDLESS = 4000
_CLIENT = Path(__file__).parent / "client.py"


class WrongAnswer(Exception):
    """A server did not answer as it should."""


def throughput(server: Server, clients: int, random: Random) -> dict[str, float]:
    """Return the tokens per second of streams that start together, and the number of broken connections."""
    results = _sent(server, [_request(server, tiny.text_of(random, PROMPT), TOKENS) for _ in range(clients)])
    seconds = max(one["ended"] for one in results) - min(one["started"] for one in results)
    resets = sum(1 for one in results if one["fault"] or not one["status"])
    wrong = [one for one in results if not _is_correct(one) and not one["fault"] and one["status"]]
    if wrong:
        raise WrongAnswer(_summary(wrong[0]))
    return {"speed": sum(one["words"] for one in results) / seconds, "resets": resets}


def starter_throughput(server: Server, clients: int, random: Random, count: Callable[[str], int]) -> dict[str, float]:
    """Return the tokens per second of streams of the starter; ``count`` counts the tokens of every answer."""
    requests = [_chat_request(server, _turns(starter.question(random)), starter.TOKENS) for _ in range(clients)]
    results = _sent(server, requests)
    wrong = [one for one in results if one["fault"] or not one["is_complete"] or not one["words"]]
    if wrong:
        raise WrongAnswer(_summary(wrong[0]))
    seconds = max(one["ended"] for one in results) - min(one["started"] for one in results)
    return {"speed": sum(count(one["text"]) for one in results) / seconds}


def first_tokens(server: Server, random: Random) -> dict[str, float]:
    """Return the seconds to the first token of short requests: on an idle server, and beside a stream."""
    shorts = [_request(server, tiny.text_of(random, PROMPT), FEW) for _ in range(_SHORTS)]
    alone = [one | {"behind": [number - 1] if number else []} for number, one in enumerate(shorts)]
    idle = [_first_token(one) for one in _sent(server, alone)]
    stream = _request(server, tiny.text_of(random, PROMPT), _ENDLESS)
    beside = [
        one | {"after": [0, 20], "behind": [number] if number else [], "pause": random.random() / 10}
        for number, one in enumerate(shorts)
    ]
    numbers = list(range(1, len(shorts) + 1))
    busy = [_first_token(one) for one in _sent(server, [stream | {"close_with": numbers}, *beside])[1:]]
    return {"idle": statistics.median(idle), "busy": statistics.median(busy)}


def beside_a_long_prompt(server: Server, random: Random) -> dict[str, float]:
    """Return the longest gap in a stream during the prefill of a long prompt, and the seconds of that prefill."""
    stream = _request(server, tiny.text_of(random, PROMPT), _ENDLESS) | {"close_with": [1]}
    long = _request(server, tiny.text_of(random, LONG), 2) | {"after": [0, 50]}
    stream_result, long_result = _sent(server, [stream, long])
    first = long_result["started"] + _first_token(long_result)
    started, times = long_result["started"], stream_result["token_times"]
    before = max((when for when in times if when < started), default=started)
    after = min((when for when in times if when > first), default=first)
    during = [when for when in times if before <= when <= after]
    return {
        "gap": max((later - sooner for sooner, later in pairwise(during)), default=0.0),
        "read": _first_token(long_result),
    }


def second_turn(server: Server, random: Random) -> dict[str, float]:
    """Return the seconds to the first token of the first and the second turn of a long chat."""
    turns = _turns(tiny.text_of(random, CHAT_PROMPT))
    (first,) = _sent(server, [_chat_request(server, turns, 2 * FEW)])
    turns += [
        {"role": "assistant", "content": first["text"]},
        {"role": "user", "content": tiny.text_of(random, FEW)},
    ]
    (second,) = _sent(server, [_chat_request(server, turns, FEW)])
    return {"cold": _first_token(first), "second": _first_token(second)}


def _request(server: Server, text: str, tokens: int) -> dict[str, Any]:
    return _chat_request(server, _turns(text), tokens)


def _turns(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _chat_request(server: Server, turns: Sequence[dict[str, str]], tokens: int) -> dict[str, Any]:
    body = {
        "model": server.model,
        "messages": list(turns),
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {"body": body, "tokens": tokens}


def _sent(server: Server, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    job = {"port": server.port, "path": CHAT, "requests": requests}
    done = subprocess.run(
        [sys.executable, str(_CLIENT)], input=json.dumps(job).encode(), stdout=subprocess.PIPE, check=True
    )
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return [one | {"tokens": request["tokens"]} for one, request in zip(results, requests, strict=True)]


def _is_correct(one: dict[str, Any]) -> bool:
    """Return whether an answer is complete: each token is a word, and a reported usage has the same number."""
    counted = one["usage"].get("completion_tokens", one["tokens"])
    return bool(one["is_complete"] and one["words"] == one["tokens"] == counted)


def _first_token(one: dict[str, Any]) -> float:
    if not one["token_times"]:
        raise WrongAnswer(_summary(one))
    return float(one["token_times"][0] - one["started"])


def _summary(one: dict[str, Any]) -> str:
    counted = one["usage"].get("completion_tokens")
    what = f"status {one['status']}, {one['words']} of {one['tokens']} words, {counted} counted"
    what += "" if one["is_complete"] else ", incomplete"
    return f"{what} {one['fault']} {one['error']}".strip()
