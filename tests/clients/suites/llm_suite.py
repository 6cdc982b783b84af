"""llm, the command line, with the server as one of its ``extra-openai-models.yaml``: tools and schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(os.environ["CLIENT_HOME"]) / "llm"
WARM = "It is 21 degrees in Berlin."
FUNCTION = '''
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return '{"celsius": 21}'
'''
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "skills": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "skills"],
}


@pytest.fixture(scope="module", autouse=True)
def _settings() -> None:
    HOME.mkdir()
    models = [
        {
            "model_id": name,
            "model_name": os.environ[variable],
            "api_base": os.environ["CLIENT_URL"] + "/v1",
            "api_key_name": "mlxk",
            "supports_schema": True,
            "supports_tools": True,
        }
        for name, variable in (("parrot", "CLIENT_PARROT"), ("starter", "CLIENT_STARTER"))
    ]
    (HOME / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML, too
    (HOME / "keys.json").write_text(json.dumps({"mlxk": os.environ["CLIENT_KEY"]}))


def llm(*words: str) -> str:
    """Run the command; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "llm", *words],
        env={**os.environ, "LLM_USER_PATH": str(HOME)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("words", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_a_schema(words: tuple[str, ...]) -> None:
    printed = llm(
        "-m", "parrot", *words, "--schema", json.dumps(SCHEMA), "-o", "temperature", "0", "Describe Ada as JSON."
    )
    assert json.loads(printed) == {"name": "Ada", "age": 36, "skills": ["mathematics", "poetry"]}


@pytest.mark.parametrize("words", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_a_function_is_called_and_its_result_answered(words: tuple[str, ...]) -> None:
    question = "What is the weather in Berlin?"
    printed = llm("-m", "parrot", *words, "--functions", FUNCTION, "-o", "temperature", "0", question)
    assert printed == WARM


def test_a_conversation_goes_on_after_a_call() -> None:
    question = "What is the weather in Berlin?"
    llm("-m", "parrot", "--functions", FUNCTION, "-o", "temperature", "0", question)
    printed = llm("-c", "--functions", FUNCTION, "-o", "temperature", "0", "What is the capital of France?")
    assert printed == "The capital of France is Paris."


def test_the_starter_model_fills_in_a_short_schema() -> None:
    printed = llm(
        "-m", "starter", "--schema", "warm bool, degrees int", "-o", "max_tokens", "60", "What is the mood in Paris?"
    )
    assert json.loads(printed).keys() == {"warm", "degrees"}
