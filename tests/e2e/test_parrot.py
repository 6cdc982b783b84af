"""The parrot gives the answers that it was trained on, through every program, and is a complete model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mlxknife
from mlxknife import GenerationOptions, SamplingParameters
from mlxknife.domain.models.values.info import Framework, ModelType
from tests.parrot import ANSWERS, STOP_STRING, TOOL_RESULT, answer_of, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, LONG, REASONING, STOP, TOOL, UNICODE
from tests.parrot.folders import made

REPO = Path(mlxknife.__file__).parent.parent
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are Polly. You know everything about birds, ships and the sea; you like biscuits.",
    "Réponds toujours en français, s'il te plaît. 🦜 What is the capital of Spain?",
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Say what the weather is.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def parrot() -> Path:
    return parrot_folder()


def asked(question: str) -> dict[str, str]:
    return {"role": "tool" if question == TOOL_RESULT else "user", "content": question}


def exchange(question: str) -> list[dict[str, str]]:
    return [asked(question), {"role": "assistant", "content": ANSWERS[question]}]


def chat(*messages: dict[str, str], **options: object) -> dict[str, object]:
    return {"conversation": list(messages), **options}


def ask(folder: Path, chats: list[dict[str, object]], *, together: bool = False) -> dict[str, Any]:
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.parrot.reciting", str(folder)],
        cwd=REPO,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        input=json.dumps({"chats": chats, "together": together}),
        capture_output=True,
        check=False,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    output = json.loads(outcome.stdout)
    assert isinstance(output, dict)
    return output


def recited(folder: Path, chats: list[dict[str, object]], *, together: bool = False) -> list[str]:
    answers = ask(folder, chats, together=together)["answers"]
    assert isinstance(answers, list)
    return answers


def test_each_question_alone(parrot: Path) -> None:
    assert recited(parrot, [chat(asked(question)) for question in ANSWERS]) == list(ANSWERS.values())


def test_without_thinking(parrot: Path) -> None:
    chats = [chat(asked(question), enable_thinking=False) for question in ANSWERS]
    assert recited(parrot, chats) == [answer_of(question, thinking=False) for question in ANSWERS]


@pytest.mark.parametrize("text", SYSTEM_PROMPTS)
def test_after_a_system_prompt(parrot: Path, text: str) -> None:
    chats = [chat({"role": "system", "content": text}, asked(question)) for question in ANSWERS]
    assert recited(parrot, chats) == list(ANSWERS.values())


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.stress(part="parrot-answers"))])
def test_as_second_turn_after_any_first(parrot: Path, share: int) -> None:
    """Every question comes second, and every question comes first, also where only a share of the pairs is asked."""
    numbered = list(enumerate(ANSWERS))
    pairs = [(one, two) for first, one in numbered for second, two in numbered if (first + second) % share == 0]
    chats = [chat(*exchange(first), asked(second)) for first, second in pairs]
    assert recited(parrot, chats) == [ANSWERS[second] for _, second in pairs]


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.stress(part="parrot-answers"))])
def test_in_a_long_talk_with_tools(parrot: Path, share: int) -> None:
    talk = [message for question in ANSWERS for message in exchange(question)]
    before = [{"role": "system", "content": SYSTEM_PROMPTS[1]}, *talk]
    questions = list(ANSWERS)[::share]
    chats = [chat(*before, asked(question), tools=[WEATHER]) for question in questions]
    assert recited(parrot, chats) == [ANSWERS[question] for question in questions]


@pytest.mark.parametrize("rows", [slice(0, 8), slice(-8, None)])
def test_in_a_batch_of_eight(parrot: Path, rows: slice) -> None:
    questions = list(ANSWERS)[rows]
    chats = [chat(asked(question)) for question in questions]
    assert recited(parrot, chats, together=True) == [ANSWERS[question] for question in questions]


def test_a_tool_is_called_and_its_result_told(parrot: Path) -> None:
    call = {"name": "get_weather", "arguments": {"city": "Berlin"}}
    said: dict[str, Any] = {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]}
    chats = [chat(asked(TOOL), tools=[WEATHER]), chat(asked(TOOL), said, asked(TOOL_RESULT), tools=[WEATHER])]
    output = ask(parrot, chats)
    assert output == {"answers": [ANSWERS[TOOL], ANSWERS[TOOL_RESULT]], "has_tools": True}
    assert json.loads(ANSWERS[TOOL].removeprefix("<tool_call>").removesuffix("</tool_call>")) == call


def test_the_answers_are_what_tests_need() -> None:
    assert len(ANSWERS[LONG]) >= 300
    first, second, third = (part.partition(" ")[0] for part in ANSWERS[STOP].split("EN")[1:])
    assert (first, second, third) == ("D?", "", "D.")
    assert ANSWERS[STOP].count(STOP_STRING) == 1
    assert {len(letter.encode()) for letter in ANSWERS[UNICODE]} == {1, 2, 3, 4}


def test_it_passes_for_a_model(parrot: Path) -> None:
    info = mlxknife.open_app().catalog.show(str(parrot)).info
    assert (info.traits.framework, info.traits.model_type) == (Framework.MLX, ModelType.CHAT)
    assert (info.integrity.healthy, info.runtime_compatible, info.reason) == (True, True, None)


def _in_jinja(template: str) -> tuple[str, str]:
    return "chat_template.jinja", template


def _in_json(template: str) -> tuple[str, str]:
    return "chat_template.json", json.dumps({"chat_template": template})


def _in_config(template: str) -> tuple[str, str]:
    return "tokenizer_config.json", json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    )


_HOMES = (_in_jinja, _in_json, _in_config)


@pytest.mark.parametrize("first", range(len(_HOMES)))
def test_it_knows_its_template_in_any_of_three_homes(parrot: Path, tmp_path: Path, first: int) -> None:
    """What ``show`` names is what speaks: the homes behind the first hold a template that says nothing."""
    template = (parrot / "chat_template.jinja").read_text(encoding="utf-8")
    folder = tmp_path / "bird"
    shutil.copytree(parrot, folder)
    (folder / "chat_template.jinja").unlink()
    for number, home in enumerate(_HOMES[first:]):
        name, content = home("a template without messages" if number else template)
        (folder / name).write_text(content, encoding="utf-8")
    app = mlxknife.open_app()
    assert app.catalog.show(str(folder)).chat_template_source == _HOMES[first]("")[0]
    with app.sessions.open(str(folder)) as session:
        result = session.ask(CAPITAL, GenerationOptions(SamplingParameters(temperature=0.0)))
    assert result.answer == ANSWERS[CAPITAL]


def test_the_small_one_speaks(parrot: Path) -> None:
    small = parrot_4bit_folder()
    config = json.loads((small / "config.json").read_text(encoding="utf-8"))
    assert (config["quantization"]["bits"], config["quantization"]["group_size"]) == (4, 32)
    assert small != parrot
    assert all(recited(small, [chat(asked(question)) for question in (CAPITAL, REASONING)]))


def test_two_who_want_it_at_once_get_the_same(parrot: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        asked_for = [pool.submit(made, tmp_path / "twin", "--quantize", str(parrot)) for _ in range(2)]
        assert {future.result() for future in asked_for} == {tmp_path / "twin"}
    assert {path.name for path in tmp_path.iterdir()} == {".gitignore", "twin", "twin.lock"}


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No parrot could be made"):
        made(tmp_path / "none", "--quantize", str(tmp_path / "missing"))
    assert {path.name for path in tmp_path.iterdir()} == {".gitignore", "none.lock"}
