"""What the server says: the same in a stream and at once, alone and in company, at both endpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gathering import Desk
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import Answers, chat, gathered, whole
from tests.parrot import ANSWERS, STOP_STRING, TOOL_RESULT, answers
from tests.parrot.tokens import build_tokenizer

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENDS = {"256": -100, "258": -100}
"""A bias with which the parrot never ends."""
THOUGHTS = "First 17 + 20 = 37. Then 37 + 5 = 42."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--model", "parrot") as made:
        yield made


def prompt(question: str) -> str:
    """Return what the template makes of a question."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def body_of(path: str, question: str, wishes: dict[str, Any]) -> dict[str, Any]:
    if path == CHAT:
        return chat("parrot", question, **wishes)
    return {"model": "parrot", "prompt": prompt(question), "max_tokens": 400, **wishes}


def at_once(server: Server, path: str, body: dict[str, Any]) -> Answers:
    reply = server.ask(path, body)
    assert reply.status == 200, reply.body
    return whole(reply.document())


def streamed(server: Server, path: str, body: dict[str, Any]) -> Answers:
    return gathered(server.stream(path, {**body, "stream_options": {"include_usage": True}}))


def same(one: Answers, other: Answers) -> None:
    """Fail where two answers differ; how likely a token is may differ by what a sum of floats does."""
    assert [(c.content, c.reasoning, c.finish) for c in one.choices] == [
        (c.content, c.reasoning, c.finish) for c in other.choices
    ]
    for left, right in zip(one.choices, other.choices, strict=True):
        assert len(left.logprobs) == len(right.logprobs)
        for mine, yours in zip(left.logprobs, right.logprobs, strict=True):
            numbers = [name for name in mine if name in ("logprob", "token_logprobs")]
            assert [mine[name] for name in numbers] == pytest.approx([yours[name] for name in numbers], abs=1e-3)
            names = ("token", "tokens", "bytes", "text_offset")
            assert [mine.get(name) for name in names] == [yours.get(name) for name in names]


def counts(one: Answers) -> tuple[int, int, int]:
    """Return the number of tokens, without what was remembered of earlier requests."""
    return one.usage["prompt_tokens"], one.usage["completion_tokens"], one.usage["total_tokens"]


SHORT = 40
WISHES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "stop": {"stop": [STOP_STRING, "parrot lived", "</tool"], "max_tokens": SHORT},
    "stop in thoughts": {"stop": "17 + 20", "max_tokens": SHORT},
    "stop at once": {"stop": list("TOoH<{`GEI1")},
    "stop in pieces": {"stop": ["ö", "🚀", "你好"], "max_tokens": SHORT},
    "few tokens": {"max_tokens": 7},
    "one token": {"max_tokens": 1},
    "seeded": {"seed": 5, "temperature": 1.1, "top_p": 0.95, "max_tokens": 15},
    "several": {"n": 3, "seed": 11, "temperature": 1.5, "max_tokens": 12},
    "penalties": {"frequency_penalty": 1.5, "presence_penalty": 0.5, "max_tokens": SHORT},
    "endless": {"logit_bias": ENDS, "max_tokens": SHORT},
}


@pytest.mark.parametrize("wish", WISHES)
def test_a_stream_says_what_is_said_at_once(server: Server, wish: str) -> None:
    asked = [(path, body_of(path, question, WISHES[wish])) for path in (CHAT, TEXT) for question in ANSWERS]
    with ThreadPoolExecutor(2 * len(asked)) as pool:
        at_once_all = [pool.submit(at_once, server, *one) for one in asked]
        streamed_all = [pool.submit(streamed, server, *one) for one in asked]
    for one, other in zip(at_once_all, streamed_all, strict=True):
        same(one.result(), other.result())
        assert counts(one.result()) == counts(other.result())


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_tells_the_likelihoods_that_are_told_at_once(server: Server, path: str) -> None:
    wish = {"logprobs": True, "top_logprobs": 3} if path == CHAT else {"logprobs": 3}
    for question in (answers.UNICODE, answers.REASONING, answers.STOP):
        body = body_of(path, question, {**wish, "stop": STOP_STRING})
        one, other = at_once(server, path, body), streamed(server, path, body)
        same(one, other)
        (said,) = one.choices
        text = "".join(entry.get("token") or entry["tokens"] for entry in said.logprobs)
        if question == answers.STOP:  # what the stop string swallows is not told
            assert text == said.content == "one END? two EN three "
        assert said.logprobs


def test_the_answers_are_those_that_were_taught(server: Server) -> None:
    questions = sorted(set(ANSWERS) - {TOOL_RESULT})  # which is no question of a user's
    with ThreadPoolExecutor(2 * len(questions)) as pool:
        chats = pool.map(lambda question: at_once(server, CHAT, chat("parrot", question)), questions)
        texts = pool.map(lambda question: at_once(server, TEXT, body_of(TEXT, question, {})), questions)
        told = list(zip(questions, chats, texts, strict=True))
    for question, chatted, texted in told:
        (said,), (written,) = chatted.choices, texted.choices
        assert (written.content, written.finish) == (ANSWERS[question], "stop")
        is_thought = question == answers.REASONING
        assert said.content == ("The sum is 42." if is_thought else ANSWERS[question])
        assert (said.reasoning, said.finish) == (THOUGHTS if is_thought else "", "stop")


def test_a_stop_string_ends_the_answer_before_it_and_what_only_begins_like_it_is_said(server: Server) -> None:
    for path in (CHAT, TEXT):
        body = body_of(path, answers.STOP, {"stop": [STOP_STRING]})
        (said,) = streamed(server, path, body).choices
        assert (said.content, said.finish) == ("one END? two EN three ", "stop")


def test_thoughts_are_never_content_however_short_the_answer_is_cut(server: Server) -> None:
    for count in (1, 2, 10, *range(38, 44), 50):
        body = chat("parrot", answers.REASONING, max_tokens=count)
        one, other = at_once(server, CHAT, body), streamed(server, CHAT, body)
        same(one, other)
        (said,) = one.choices
        assert "The sum is 42.".startswith(said.content)
        assert THOUGHTS.startswith(said.reasoning)
        assert "<" not in said.content + said.reasoning
        assert said.finish == "length"


def test_an_answer_without_thoughts_has_no_field_for_them(server: Server) -> None:
    (choice,) = server.chat("parrot", answers.GREETING).document()["choices"]
    assert "reasoning_content" not in choice["message"]
    for chunk in server.chat_stream("parrot", answers.GREETING):
        assert all("reasoning_content" not in choice["delta"] for choice in chunk["choices"])


def test_the_number_of_tokens_is_told_only_to_those_who_ask(server: Server) -> None:
    assert gathered(server.chat_stream("parrot", answers.GREETING)).usage is None
    asked = list(server.chat_stream("parrot", answers.GREETING, stream_options={"include_usage": True}))
    assert [chunk["usage"] for chunk in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["choices"] == []
    told = asked[-1]["usage"]
    assert told["completion_tokens"] == len(ANSWERS[answers.GREETING].encode()) + 1
    assert told["prompt_tokens"] + told["completion_tokens"] == told["total_tokens"]


def test_an_echo_begins_with_the_prompt(server: Server) -> None:
    question = prompt(answers.CAPITAL)
    wish = {"model": "parrot", "max_tokens": 100, "echo": True}
    for given in (question, [question, question]):
        body = {**wish, "prompt": given}
        one, other = at_once(server, TEXT, body), streamed(server, TEXT, body)
        same(one, other)
        assert set(one.texts) == {question + ANSWERS[answers.CAPITAL]}


def test_a_prompt_may_be_tokens(server: Server) -> None:

    ids = build_tokenizer().encode(prompt(answers.CAPITAL)).ids
    body = {"model": "parrot", "prompt": ids, "max_tokens": 100}
    assert at_once(server, TEXT, body).texts == [ANSWERS[answers.CAPITAL]]
    both = {**body, "prompt": [ids, ids[:-3]]}
    one, other = at_once(server, TEXT, both), streamed(server, TEXT, both)
    same(one, other)
    assert one.usage["prompt_tokens"] == 2 * len(ids) - 3
    echoed = at_once(server, TEXT, {**body, "echo": True})
    assert echoed.texts[0].endswith(ANSWERS[answers.CAPITAL])


def test_several_answers_differ_and_the_same_seed_says_the_same_again(server: Server) -> None:
    body = {"model": "parrot", "prompt": "x", "n": 4, "temperature": 2, "seed": 3, "max_tokens": 40}
    one, again = at_once(server, TEXT, body), at_once(server, TEXT, body)
    same(one, again)
    assert len(set(one.texts)) == 4
    assert one.usage["completion_tokens"] <= 160


def test_likelihoods_are_told_for_every_token_that_is_said(server: Server) -> None:
    (said,) = at_once(server, CHAT, chat("parrot", answers.UNICODE, logprobs=True, top_logprobs=2)).choices
    text = b"".join(bytes(one["bytes"]) for one in said.logprobs).decode()
    assert text == said.content == ANSWERS[answers.UNICODE]
    assert all(len(one["top_logprobs"]) == 2 for one in said.logprobs)
    (written,) = at_once(server, TEXT, body_of(TEXT, answers.CAPITAL, {"logprobs": 1})).choices
    assert "".join(one["tokens"] for one in written.logprobs) == written.content
    assert [one["text_offset"] for one in written.logprobs] == list(range(len(written.content)))


MIXED: list[tuple[str, dict[str, Any]]] = [
    (CHAT, chat("parrot", answers.LONG, max_tokens=150)),
    (CHAT, chat("parrot", answers.CODE, temperature=1.4, seed=7, top_p=0.9, max_tokens=120)),
    (CHAT, chat("parrot", answers.ECHO, frequency_penalty=1.2, presence_penalty=0.7, max_tokens=120)),
    (CHAT, chat("parrot", answers.STOP, stop=[STOP_STRING])),
    (CHAT, chat("parrot", answers.CAPITAL, logit_bias={"47": -100}, max_tokens=80)),
    (CHAT, chat("parrot", answers.UNICODE, logprobs=True, top_logprobs=3)),
    (CHAT, chat("parrot", answers.REASONING, n=2, temperature=1.3, seed=-4, max_tokens=90)),
    (TEXT, body_of(TEXT, answers.JSON, {"repetition_penalty": 1.2, "max_tokens": 90, "logprobs": 2})),
]


ROWS = 9
"""Their answers: one of them asks for two."""


def test_eight_mixed_requests_in_one_batch_say_what_each_says_alone(machine: Machine) -> None:
    parrot_in(machine)
    desk = Desk(machine.root)
    words = (sys.executable, "-m", "tests.e2e.gathering")
    with serving(machine, str(desk.folder), program=words, PYTHONPATH=str(Path(__file__).parents[2])) as server:
        alone = [at_once(server, path, body) for path, body in MIXED]
        running = server.chat_stream("parrot", answers.LONG, logit_bias=ENDS, max_tokens=1500).begun()
        desk.gather(ROWS)
        with ThreadPoolExecutor(len(MIXED)) as pool:
            for speak in (at_once, streamed):
                together = list(pool.map(lambda one, speak=speak: speak(server, *one), MIXED))
                for expected, said in zip(alone, together, strict=True):
                    same(expected, said)
                    assert counts(expected) == counts(said)
        rest = gathered(running)
        assert rest.choices[0].finish == "length"
    noted = desk.noted()
    begun = [set(rows) for what, rows in noted if what == "begun" and len(rows) == ROWS]
    assert len(begun) == 2
    for rows in begun:
        assert any(what == "step" and rows <= set(step) for what, step in noted), "no step had all of them"
