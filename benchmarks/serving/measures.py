"""What is measured of a server in one round: throughput, first tokens, gaps, a second turn."""

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


class Unanswered(Exception):
    """A server did not answer as it should."""


def throughput(server: Server, clients: int, random: Random) -> dict[str, float]:
    """Return tokens per second over streams that begin together, and how many of them were not whole."""
    said = _asked(server, [_order(server, tiny.text_of(random, PROMPT), TOKENS) for _ in range(clients)])
    seconds = max(one["ended"] for one in said) - min(one["began"] for one in said)
    resets = sum(1 for one in said if one["fault"] or not one["status"])
    wrong = [one for one in said if not _is_right(one) and not one["fault"] and one["status"]]
    if wrong:
        raise Unanswered(_in_short(wrong[0]))
    return {"speed": sum(one["words"] for one in said) / seconds, "resets": resets}


def starter_throughput(server: Server, clients: int, random: Random, count: Callable[[str], int]) -> dict[str, float]:
    """Return tokens per second over streams of the starter; what came is cut into tokens again, for all alike."""
    orders = [_chat_order(server, _turns(starter.question(random)), starter.TOKENS) for _ in range(clients)]
    said = _asked(server, orders)
    wrong = [one for one in said if one["fault"] or not one["is_whole"] or not one["words"]]
    if wrong:
        raise Unanswered(_in_short(wrong[0]))
    seconds = max(one["ended"] for one in said) - min(one["began"] for one in said)
    return {"speed": sum(count(one["text"]) for one in said) / seconds}


def first_tokens(server: Server, random: Random) -> dict[str, float]:
    """Return the seconds until the first token of short requests: of an idle server, and beside a stream."""
    shorts = [_order(server, tiny.text_of(random, PROMPT), FEW) for _ in range(_SHORTS)]
    alone = [one | {"behind": [number - 1] if number else []} for number, one in enumerate(shorts)]
    idle = [_first(one) for one in _asked(server, alone)]
    stream = _order(server, tiny.text_of(random, PROMPT), _ENDLESS)
    beside = [
        one | {"after": [0, 20], "behind": [number] if number else [], "pause": random.random() / 10}
        for number, one in enumerate(shorts)
    ]
    numbers = list(range(1, len(shorts) + 1))
    busy = [_first(one) for one in _asked(server, [stream | {"close_with": numbers}, *beside])[1:]]
    return {"idle": statistics.median(idle), "busy": statistics.median(busy)}


def beside_a_long_prompt(server: Server, random: Random) -> dict[str, float]:
    """Return the longest gap in a stream while a long prompt is read beside it, and how long that took."""
    stream = _order(server, tiny.text_of(random, PROMPT), _ENDLESS) | {"close_with": [1]}
    long = _order(server, tiny.text_of(random, LONG), 2) | {"after": [0, 50]}
    running, read = _asked(server, [stream, long])
    first = read["began"] + _first(read)
    before = max((when for when in running["moments"] if when < read["began"]), default=read["began"])
    after = min((when for when in running["moments"] if when > first), default=first)
    moments = [when for when in running["moments"] if before <= when <= after]
    return {"gap": max((later - sooner for sooner, later in pairwise(moments)), default=0.0), "read": _first(read)}


def second_turn(server: Server, random: Random) -> dict[str, float]:
    """Return the seconds until the first token of a long chat's first and second turn."""
    turns = _turns(tiny.text_of(random, CHAT_PROMPT))
    (first,) = _asked(server, [_chat_order(server, turns, 2 * FEW)])
    turns += [
        {"role": "assistant", "content": first["text"]},
        {"role": "user", "content": tiny.text_of(random, FEW)},
    ]
    (second,) = _asked(server, [_chat_order(server, turns, FEW)])
    return {"cold": _first(first), "second": _first(second)}


def _order(server: Server, text: str, tokens: int) -> dict[str, Any]:
    return _chat_order(server, _turns(text), tokens)


def _turns(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _chat_order(server: Server, turns: Sequence[dict[str, str]], tokens: int) -> dict[str, Any]:
    body = {
        "model": server.model,
        "messages": list(turns),
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {"body": body, "tokens": tokens}


def _asked(server: Server, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    order = {"port": server.port, "path": CHAT, "requests": requests}
    done = subprocess.run(
        [sys.executable, str(_CLIENT)], input=json.dumps(order).encode(), stdout=subprocess.PIPE, check=True
    )
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return [one | {"tokens": asked["tokens"]} for one, asked in zip(said, requests, strict=True)]


def _is_right(one: dict[str, Any]) -> bool:
    """Whether an answer is whole: each token is a word, and where the server counts, it counts the same."""
    counted = one["usage"].get("completion_tokens", one["tokens"])
    return bool(one["is_whole"] and one["words"] == one["tokens"] == counted)


def _first(one: dict[str, Any]) -> float:
    if not one["moments"]:
        raise Unanswered(_in_short(one))
    return float(one["moments"][0] - one["began"])


def _in_short(one: dict[str, Any]) -> str:
    counted = one["usage"].get("completion_tokens")
    what = (
        f"status {one['status']}, {one['words']} of {one['tokens']} words, {counted} counted, whole: {one['is_whole']}"
    )
    return f"{what} {one['fault']} {one['refusal']}".strip()
