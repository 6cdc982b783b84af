"""Answers: the same streamed and whole, alone and in a batch, at both endpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gathering import Gathering
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import Answers, chat, gathered, whole
from tests.parrot import ANSWERS, STOP_STRING, TOOL_RESULT, answers
from tests.parrot.tokens import build_tokenizer

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENDS = {"256": -100, "258": -100}
"""A logit bias with which the parrot never ends."""
REASONING = "First 17 + 20 = 37. Then 37 + 5 = 42."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--model", "parrot") as made:
        yield made


def prompt(question: str) -> str:
    """Return the prompt that the chat template makes of a question."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def body_of(path: str, question: str, options: dict[str, Any]) -> dict[str, Any]:
    if path == CHAT:
        return chat("parrot", question, **options)
    return {"model": "parrot", "prompt": prompt(question), "max_tokens": 400, **options}


def whole_answer(server: Server, path: str, body: dict[str, Any]) -> Answers:
    reply = server.ask(path, body)
    assert reply.status == 200, reply.body
    return whole(reply.document())


def streamed(server: Server, path: str, body: dict[str, Any]) -> Answers:
    return gathered(server.stream(path, {**body, "stream_options": {"include_usage": True}}))


def same(one: Answers, other: Answers) -> None:
    """Fail where two answers differ; logprobs may differ by rounding."""
    assert [(c.content, c.reasoning, c.finish) for c in one.choices] == [
        (c.content, c.reasoning, c.finish) for c in other.choices
    ]
    for left, right in zip(one.choices, other.choices, strict=True):
        assert len(left.logprobs) == len(right.logprobs)
        for one_token, other_token in zip(left.logprobs, right.logprobs, strict=True):
            numbers = [name for name in one_token if name in ("logprob", "token_logprobs")]
            assert [one_token[name] for name in numbers] == pytest.approx(
                [other_token[name] for name in numbers], abs=1e-3
            )
            names = ("token", "tokens", "bytes", "text_offset")
            assert [one_token.get(name) for name in names] == [other_token.get(name) for name in names]


def counts(one: Answers) -> tuple[int, int, int]:
    """Return the number of tokens, without those from the prefix cache."""
    return one.usage["prompt_tokens"], one.usage["completion_tokens"], one.usage["total_tokens"]


SHORT = 40
OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "stop": {"stop": [STOP_STRING, "parrot lived", "</tool"], "max_tokens": SHORT},
    "stop in reasoning": {"stop": "17 + 20", "max_tokens": SHORT},
    "stop at once": {"stop": list("TOoH<{`GEI1")},
    "stop in pieces": {"stop": ["ö", "🚀", "你好"], "max_tokens": SHORT},
    "few tokens": {"max_tokens": 7},
    "one token": {"max_tokens": 1},
    "seeded": {"seed": 5, "temperature": 1.1, "top_p": 0.95, "max_tokens": 15},
    "several": {"n": 3, "seed": 11, "temperature": 1.5, "max_tokens": 12},
    "penalties": {"frequency_penalty": 1.5, "presence_penalty": 0.5, "max_tokens": SHORT},
    "endless": {"logit_bias": ENDS, "max_tokens": SHORT},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_stream_has_the_same_answer_as_a_document(server: Server, name: str) -> None:
    requests = [(path, body_of(path, question, OPTIONS[name])) for path in (CHAT, TEXT) for question in ANSWERS]
    with ThreadPoolExecutor(2 * len(requests)) as pool:
        whole_answers = [pool.submit(whole_answer, server, *one) for one in requests]
        streamed_answers = [pool.submit(streamed, server, *one) for one in requests]
    for one, other in zip(whole_answers, streamed_answers, strict=True):
        same(one.result(), other.result())
        assert counts(one.result()) == counts(other.result())


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_has_the_same_logprobs_as_a_document(server: Server, path: str) -> None:
    options = {"logprobs": True, "top_logprobs": 3} if path == CHAT else {"logprobs": 3}
    for question in (answers.UNICODE, answers.REASONING, answers.STOP):
        body = body_of(path, question, {**options, "stop": STOP_STRING})
        one, other = whole_answer(server, path, body), streamed(server, path, body)
        same(one, other)
        (said,) = one.choices
        text = "".join(entry.get("token") or entry["tokens"] for entry in said.logprobs)
        if question == answers.STOP:  # the tokens of the stop string have no entry
            assert text == said.content == "one END? two EN three "
        assert said.logprobs


def test_the_answers_are_those_of_the_training(server: Server) -> None:
    questions = sorted(set(ANSWERS) - {TOOL_RESULT})  # which no user asks
    with ThreadPoolExecutor(2 * len(questions)) as pool:
        chats = pool.map(lambda question: whole_answer(server, CHAT, chat("parrot", question)), questions)
        texts = pool.map(lambda question: whole_answer(server, TEXT, body_of(TEXT, question, {})), questions)
        found = list(zip(questions, chats, texts, strict=True))
    for question, chatted, texted in found:
        (said,), (written,) = chatted.choices, texted.choices
        assert (written.content, written.finish) == (ANSWERS[question], "stop")
        is_reasoning = question == answers.REASONING
        assert said.content == ("The sum is 42." if is_reasoning else ANSWERS[question])
        assert (said.reasoning, said.finish) == (REASONING if is_reasoning else "", "stop")


def test_a_stop_string_ends_the_answer_and_its_beginning_alone_does_not(server: Server) -> None:
    for path in (CHAT, TEXT):
        body = body_of(path, answers.STOP, {"stop": [STOP_STRING]})
        (said,) = streamed(server, path, body).choices
        assert (said.content, said.finish) == ("one END? two EN three ", "stop")


def test_thirty_streams_with_different_stop_strings_end_each_at_its_own(server: Server) -> None:
    whole_text = ANSWERS[answers.LONG]
    stops = [whole_text[place : place + 8] for place in range(0, 300, 10)]
    assert len(set(stops)) == 30
    with ThreadPoolExecutor(len(stops) + 1) as pool:
        without = pool.submit(streamed, server, CHAT, chat("parrot", answers.LONG))
        found = list(pool.map(lambda stop: streamed(server, CHAT, chat("parrot", answers.LONG, stop=stop)), stops))
    for stop, one in zip(stops, found, strict=True):
        (choice,) = one.choices
        assert (choice.content, choice.finish) == (whole_text.partition(stop)[0], "stop")
    assert without.result().texts == [whole_text]


def test_reasoning_is_never_in_content_however_short_the_answer(server: Server) -> None:
    for count in (1, 2, 10, *range(38, 44), 50):
        body = chat("parrot", answers.REASONING, max_tokens=count)
        one, other = whole_answer(server, CHAT, body), streamed(server, CHAT, body)
        same(one, other)
        (said,) = one.choices
        assert "The sum is 42.".startswith(said.content)
        assert REASONING.startswith(said.reasoning)
        assert "<" not in said.content + said.reasoning
        assert said.finish == "length"


def test_an_answer_without_reasoning_has_no_field_for_it(server: Server) -> None:
    (choice,) = server.chat("parrot", answers.GREETING).document()["choices"]
    assert "reasoning_content" not in choice["message"]
    for chunk in server.chat_stream("parrot", answers.GREETING):
        assert all("reasoning_content" not in choice["delta"] for choice in chunk["choices"])


def test_a_stream_has_usage_only_with_include_usage(server: Server) -> None:
    assert gathered(server.chat_stream("parrot", answers.GREETING)).usage is None
    chunks = list(server.chat_stream("parrot", answers.GREETING, stream_options={"include_usage": True}))
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == len(ANSWERS[answers.GREETING].encode()) + 1
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


def test_an_echo_begins_with_the_prompt(server: Server) -> None:
    question = prompt(answers.CAPITAL)
    options = {"model": "parrot", "max_tokens": 100, "echo": True}
    for given in (question, [question, question]):
        body = {**options, "prompt": given}
        one, other = whole_answer(server, TEXT, body), streamed(server, TEXT, body)
        same(one, other)
        assert set(one.texts) == {question + ANSWERS[answers.CAPITAL]}


def test_a_prompt_may_be_token_ids(server: Server) -> None:

    ids = build_tokenizer().encode(prompt(answers.CAPITAL)).ids
    body = {"model": "parrot", "prompt": ids, "max_tokens": 100}
    assert whole_answer(server, TEXT, body).texts == [ANSWERS[answers.CAPITAL]]
    both = {**body, "prompt": [ids, ids[:-3]]}
    one, other = whole_answer(server, TEXT, both), streamed(server, TEXT, both)
    same(one, other)
    assert one.usage["prompt_tokens"] == 2 * len(ids) - 3
    echoed = whole_answer(server, TEXT, {**body, "echo": True})
    assert echoed.texts[0].endswith(ANSWERS[answers.CAPITAL])


def test_several_answers_differ_and_the_same_seed_repeats_them(server: Server) -> None:
    body = {"model": "parrot", "prompt": "x", "n": 4, "temperature": 2, "seed": 3, "max_tokens": 40}
    one, again = whole_answer(server, TEXT, body), whole_answer(server, TEXT, body)
    same(one, again)
    assert len(set(one.texts)) == 4
    assert one.usage["completion_tokens"] <= 160


def test_every_token_of_the_answer_has_logprobs(server: Server) -> None:
    (said,) = whole_answer(server, CHAT, chat("parrot", answers.UNICODE, logprobs=True, top_logprobs=2)).choices
    text = b"".join(bytes(one["bytes"]) for one in said.logprobs).decode()
    assert text == said.content == ANSWERS[answers.UNICODE]
    assert all(len(one["top_logprobs"]) == 2 for one in said.logprobs)
    for body in (chat("parrot", answers.REASONING), chat("parrot", answers.CAPITAL, stop=["is P"])):
        (said,) = whole_answer(server, CHAT, {**body, "logprobs": True}).choices
        assert "".join(one["token"] for one in said.logprobs) == said.content
    (written,) = whole_answer(server, TEXT, body_of(TEXT, answers.CAPITAL, {"logprobs": 1})).choices
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
"""The number of answers: one request has n = 2."""


def test_eight_mixed_requests_have_the_same_answers_in_one_batch_as_alone(machine: Machine) -> None:
    parrot_in(machine)
    gathering = Gathering(machine.root)
    words = (sys.executable, "-m", "tests.e2e.gathering")
    with serving(machine, str(gathering.folder), program=words, PYTHONPATH=str(Path(__file__).parents[2])) as server:
        alone = [whole_answer(server, path, body) for path, body in MIXED]
        running = server.chat_stream("parrot", answers.LONG, logit_bias=ENDS, max_tokens=1500).begun()
        gathering.gather(ROWS)
        with ThreadPoolExecutor(len(MIXED)) as pool:
            for send in (whole_answer, streamed):
                batched = list(pool.map(lambda one, send=send: send(server, *one), MIXED))
                for expected, said in zip(alone, batched, strict=True):
                    same(expected, said)
                    assert counts(expected) == counts(said)
        rest = gathered(running)
        assert rest.choices[0].finish == "length"
    notes = gathering.notes()
    started = [set(rows) for kind, rows in notes if kind == "start" and len(rows) == ROWS]
    assert len(started) == 2
    for rows in started:
        assert any(kind == "step" and rows <= set(step) for kind, step in notes), "no step had all of them"
