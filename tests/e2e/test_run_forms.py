"""``run`` and the form of its answer: exactly one document on stdout, or an error and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.e2e.test_run import THOUGHT, Bird
from tests.e2e.typing_keys import typed
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import GREETING, JSON, REASONING

pytestmark = pytest.mark.timeout(1200)

_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "skills": {"type": "array"}},
    "required": ["name", "age", "skills"],
    "additionalProperties": False,
}
_GREEDY = ("--temperature", "0")


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    bird = Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())
    (bird.machine.root / "person.json").write_text(json.dumps(_SCHEMA))
    return bird


def test_a_schema_from_a_file_or_as_json_gives_one_document(bird: Bird, tmp_path: Path) -> None:
    out = tmp_path / "ada.json"
    for schema in ("person.json", json.dumps(_SCHEMA)):
        outcome = bird.run(JSON, *_GREEDY, "--schema", schema, "--out", str(out))
        assert (outcome.code, outcome.out, outcome.err) == (0, f"{ANSWERS[JSON]}\n", "")
        assert out.read_text() == ANSWERS[JSON]
        out.unlink()


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (("--choice", "yes,no"), {"yes", "no"}),
        (("--choice", "yes, sir", "--choice", "no, sir"), {"yes, sir", "no, sir"}),
        (("--schema", '{"enum": [1, {"sum": 2}]}'), {"1", '{"sum": 2}'}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_form_holds_after_the_reasoning_which_stays_out_of_a_pipe(
    bird: Bird, words: tuple[str, ...], answers: set[str]
) -> None:
    outcome = bird.run(REASONING, *_GREEDY, *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.removesuffix("\n") in answers


def test_the_document_has_the_answer_parsed(bird: Bird) -> None:
    data = bird.data(JSON, *_GREEDY, "--json-object")
    assert (data["response"], data["parsed"]) == (ANSWERS[JSON], json.loads(ANSWERS[JSON]))
    data = bird.data(REASONING, *_GREEDY, "--choice", "42,43")
    assert (data["reasoning"], data["response"] in ("42", "43"), "parsed" in data) == (THOUGHT, True, False)


@pytest.mark.parametrize("option", [("--schema", "person.json"), ("--choice", "a long text,b")])
def test_an_answer_that_is_cut_is_an_error_and_a_pipe_gets_nothing(
    bird: Bird, tmp_path: Path, option: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    outcome = bird.run(JSON, "--seed", "1", *option, "--max-tokens", "1", "--out", str(out))
    message = f"Output cut at 1 token (--max-tokens): the answer does not have the form of {option[0]}"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"error: {message}\n")
    assert not out.exists()


def test_the_document_of_a_cut_answer_has_the_text_and_the_reason(bird: Bird) -> None:
    outcome = bird.run(JSON, *_GREEDY, "--json-object", "--max-tokens", "5", "--json")
    document = outcome.document()
    assert (outcome.code, document["status"]) == (1, "error")
    data, error = document["data"], document["error"]
    assert isinstance(data, dict)
    assert isinstance(error, dict)
    assert (data["response"], data["finish_reason"], error["type"]) == ('{"nam', "length", "generation_failed")
    assert "parsed" not in data


def test_a_stop_string_does_not_make_half_a_document_whole(bird: Bird) -> None:
    outcome = bird.run(JSON, *_GREEDY, "--json-object", "--stop", "age")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: The answer does not have the form of --json-object\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--schema", '{"not": {}}'), "--schema.not is not supported in a schema"),
        (("--schema", "{"), "--schema is not valid JSON"),
        (("--schema", "missing.json"), "missing.json"),
        (("--schema", ""), "--schema is empty"),
        (("--schema", "[]"), "--schema must be"),
        (("--yes",), "--yes needs --tools"),
        (("--regex", ""), "--regex must be"),
        (("--choice", "a,,b"), "--choice has a choice"),
        (("--schema", "{}", "--json-object"), "not allowed with argument"),
        (("--schema", "{}", "--draft-model", "other"), "--schema and draft_model cannot be combined"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_form_that_cannot_be_demanded_is_named_before_the_model_is_looked_for(
    bird: Bird, words: tuple[str, ...], message: str
) -> None:
    outcome = bird.machine.run("run", "no-such-model", GREETING, *words)
    assert outcome.code in (1, 3)
    assert message in outcome.err


def test_an_expression_that_cannot_be_compiled_is_named(bird: Bird) -> None:
    assert bird.refusal(GREETING, "--regex", "([").startswith("error: --regex ")


def test_on_a_terminal_the_document_is_not_drawn_as_markdown(bird: Bird) -> None:
    words = ("run", str(bird.folder), JSON, *_GREEDY, "--schema", "person.json")
    code, shown = typed(words, bird.environment(), bird.machine.root)
    assert (code, shown.split("\r\x1b[K")[-1]) == (0, f"{ANSWERS[JSON]}\n")


def test_a_chat_keeps_the_form(bird: Bird) -> None:
    outcome = bird.shell(f"printf '{JSON}\\n{JSON}\\n' | mlxk run $BIRD --temperature 0 --json-object")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[JSON]}\n" * 2)
