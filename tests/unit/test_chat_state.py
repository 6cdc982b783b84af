"""The state of a chat, and the files that it is saved in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs
import pytest

from mlxknife.cli.chat.state import Conversation, load, save
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.request import GenerationOptions, Message
from mlxknife.domain.tools.values import ToolCall

_EMPTY = Conversation(GenerationOptions())
_CONVERSATION = attrs.evolve(
    _EMPTY, system="Be brief.", messages=(Message("user", "Grüße"), Message("assistant", "世界"))
)


def test_an_empty_system_text_is_dropped() -> None:
    assert [message.role for message in attrs.evolve(_EMPTY, system="").asked("Hi")] == ["user"]
    assert [message.role for message in attrs.evolve(_EMPTY, system="Be kind.").asked("Hi")] == ["system", "user"]


def test_a_saved_conversation_can_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    file.write_text("another")
    save(str(file), os.fsdecode(b"caf\xe9"), _CONVERSATION)
    assert json.loads(file.read_text())["model"] == r"caf\udce9"
    assert load(str(file), _EMPTY) == _CONVERSATION
    assert os.listdir(tmp_path) == ["saved"]


def test_calls_and_their_results_are_saved_too(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    call = ToolCall("call_1", "weather", '{"city": "K\u00f6ln"}')
    messages = (
        Message("user", "?"),
        Message("assistant", "", reasoning_content="Hm.", tool_calls=(call,)),
        Message("tool", "21", name="weather", tool_call_id="call_1"),
        Message("assistant", "It is 21 degrees."),
    )
    save(str(file), "model", attrs.evolve(_EMPTY, messages=messages))
    assert load(str(file), _EMPTY).messages == messages
    assert json.loads(file.read_text())["messages"][0] == {"role": "user", "content": "?"}


def test_half_a_character_is_saved_escaped(tmp_path: Path) -> None:
    file = str(tmp_path / "saved")
    save(file, "model", attrs.evolve(_CONVERSATION, system="a\udce9", messages=(Message("user", "\ud83d"),)))
    expected = attrs.evolve(_EMPTY, system=r"a\udce9", messages=(Message("user", r"\ud83d"),))
    assert load(file, _CONVERSATION) == expected


@pytest.mark.parametrize(
    ("name", "reason"), [(".", " is a folder"), ("pipe", " is no file"), ("a\0b", "Invalid file name")]
)
def test_only_a_file_is_replaced(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match=reason):
        save(str(tmp_path / name), "model", _CONVERSATION)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["none/saved", "a" * 300])
def test_an_error_of_writing_names_the_file_as_it_was_given(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=name) as caught:
        save(str(tmp_path / name), "model", _CONVERSATION)
    assert caught.value.filename == str(tmp_path / name)
    assert os.listdir(tmp_path) == []
